package vsphere

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/channels"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/internal/vcenter"
)

// join is what a VM carries of its guest's joining. The token itself is where its guest reads it, and nowhere else.
type join struct {
	TokenHash digest `json:"tokenHash"`
	// Boot has joined last, with a public key of that hash.
	Boot string `json:"boot,omitempty"`
	Key  digest `json:"key"`
}

// digest is a SHA-256, in hex digits where it is written.
type digest [sha256.Size]byte

// MarshalText implements encoding.TextMarshaler.
func (d digest) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, d[:]), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *digest) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(d)) {
		return fmt.Errorf("%q is not a SHA-256", text)
	}
	_, err := hex.Decode(d[:], text)
	return err
}

// armBoot gives a VM a new token, and returns what it has to carry for it: the blob, and what the token is known by.
// A token is worth nothing before its hash is there, and both come together.
func (h *Hypervisor) armBoot(vm *ownedVM) ([]types.BaseOptionValue, error) {
	if !vm.record.spec.Boot.HasGuest() {
		return nil, nil // nobody will join
	}
	boot, hash, err := h.bootBlob(*vm)
	if err != nil {
		return nil, err
	}
	vm.record.join = join{TokenHash: hash}
	return []types.BaseOptionValue{boot, option(keyJoin, vm.record.join)}, nil
}

// bootBlob is what the guest of a VM is given for its next boot, and the hash of the token in it.
func (h *Hypervisor) bootBlob(vm ownedVM) (types.BaseOptionValue, [32]byte, error) {
	boot := h.config.Guests.Boot(vm.uuid)
	boot.Token = rand.Text()
	for _, n := range vm.record.spec.NICs {
		boot.Interfaces = append(boot.Interfaces, wire.Interface{MAC: n.MAC, Addresses: n.Addresses, Gateways: n.Gateways, MTU: n.MTU})
	}
	b, err := json.Marshal(boot)
	if err == nil && len(b) > wire.MaxBootBytes {
		err = fmt.Errorf("%d bytes are more than %d", len(b), wire.MaxBootBytes)
	}
	if err != nil {
		return nil, [32]byte{}, fmt.Errorf("boot blob: %w", err)
	}
	return &types.OptionValue{Key: wire.BootGuestInfo, Value: string(b)}, sha256.Sum256([]byte(boot.Token)), nil
}

// bootName names the latest power-on by vSphere's clock, or by ours where that is not known.
func (vm ownedVM) bootName() string {
	switch {
	case !vm.on:
		return ""
	case !vm.bootedAt.IsZero():
		return strconv.FormatInt(vm.bootedAt.UnixNano(), 10)
	case vm.record.join.Boot != "":
		return vm.record.join.Boot // nobody says that there was another power-on
	}
	return strconv.FormatInt(vm.startedAt().UnixNano(), 10)
}

// Guest implements channels.VMs.
func (h *Hypervisor) Guest(uuid string) (channels.VM, bool) {
	vm, ok := h.seen.named(uuid)
	if !ok {
		return channels.VM{}, false
	}
	var addresses []netip.Addr
	for _, n := range vm.record.spec.NICs {
		for _, a := range n.Addresses {
			addresses = append(addresses, a.Addr())
		}
	}
	j := vm.record.join
	return channels.VM{Addresses: addresses, TokenHash: j.TokenHash, Boot: vm.bootName(), Joined: j.Boot, Key: j.Key}, true
}

// Refresh implements channels.VMs.
func (h *Hypervisor) Refresh(ctx context.Context, uuid string) error {
	vm, ok := h.seen.named(uuid)
	if !ok {
		return nil
	}
	return vcenter.Translate(h.seen.read(ctx, []types.ManagedObjectReference{vm.ref}))
}

// HasAddress implements channels.VMs.
func (h *Hypervisor) HasAddress(a netip.Addr) bool { return h.seen.hasAddress(a) }

// Join implements channels.VMs: the VM carries which boot has joined, so that the next process knows it too.
func (h *Hypervisor) Join(ctx context.Context, uuid, boot string, key [32]byte) error {
	vm, ok := h.seen.named(uuid)
	if !ok {
		return fmt.Errorf("join VM %s: %w", uuid, portlayer.ErrNotFound)
	}
	vm, giveBack, err := h.change(ctx, vm.uid())
	if err == nil {
		defer giveBack()
		err = h.noteJoin(ctx, vm, boot, key)
	}
	if err != nil {
		return fmt.Errorf("join VM %s: %w", uuid, vcenter.Translate(err))
	}
	return nil
}

// Rebooted implements channels.VMs: a guest that boots anew ends its VM, as on QEMU, and the pod's containers with it.
func (h *Hypervisor) Rebooted(ctx context.Context, uuid, boot string) error {
	vm, ok := h.seen.named(uuid)
	if !ok {
		return nil
	}
	vm, giveBack, err := h.change(ctx, vm.uid())
	if err == nil {
		defer giveBack()
		if vm.bootName() != boot {
			return nil // its power was off since
		}
		ended := vm.power()
		ended.Reason = "the guest rebooted"
		if err = h.notePower(ctx, &vm, ended); err == nil {
			err = h.cutPower(ctx, vm)
		}
	}
	if err != nil {
		return fmt.Errorf("end rebooted VM %s: %w", uuid, vcenter.Translate(err))
	}
	return nil
}

func (h *Hypervisor) noteJoin(ctx context.Context, vm ownedVM, boot string, key [32]byte) error {
	if vm.bootName() != boot || vm.record.join.Boot == boot {
		return fmt.Errorf("boot %s is not the one that may join: %w", boot, portlayer.ErrBusy)
	}
	vm.record.join.Boot, vm.record.join.Key = boot, key
	on := vm.power()
	on.Off, on.Reason = false, "" // somebody else may have powered it on after we had powered it off
	return h.notePower(ctx, &vm, on, option(keyJoin, vm.record.join))
}
