package qemu

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/virtual-kubelet/vic/internal/changes"
	"github.com/virtual-kubelet/vic/internal/turns"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/qemu/network"
)

// Hypervisor is a VCH on this machine. It implements portlayer.Hypervisor.
type Hypervisor struct {
	config Config
	layout layout
	boot   bootFiles
	accel  Accel

	making   turns.Turns    // of image disks, by ref; and of what all VMs share
	changing turns.Turns    // of VMs, by UID
	consoles turns.Turns    // reading, by UID
	tending  sync.WaitGroup // a goroutine or two for each running VM
	claims   sync.WaitGroup // one goroutine for each VM that is being taken over
	closing  chan struct{}  // closed by Close
	close    sync.Once      // guards closing
	// warnUnbounded guards the warning that VMs are not bounded.
	warnUnbounded sync.Once
	changed       changes.Hub

	mu       sync.Mutex // guards what follows
	vms      map[string]*podVM
	starting map[string]int64         // memory of VMs between admission and first instruction
	claiming map[string]chan struct{} // by UID, closed when the takeover has succeeded or failed
	damaged  map[string]error         // VMs that could not be read at the last look, by UID
	spent    map[string]spent         // by UID, at the last look
	cpu      time.Duration            // of all VMs so far
}

var _ portlayer.Hypervisor = (*Hypervisor)(nil)

// Open opens the VCH in cfg.Dir, makes it where it is new, sweeps what a crash left half made, and adopts the VMs that
// run. Close lets go of them.
func Open(ctx context.Context, cfg Config) (*Hypervisor, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, fmt.Errorf("open VCH: %w", err)
	}
	h := newHypervisor(cfg)
	if err := h.open(ctx); err != nil {
		h.Close()
		return nil, fmt.Errorf("open VCH %s: %w", cfg.Dir, err)
	}
	return h, nil
}

// newHypervisor knows no VM yet.
func newHypervisor(cfg Config) *Hypervisor {
	return &Hypervisor{
		config: cfg, layout: layout(cfg.Dir), accel: cfg.Accel,
		closing: make(chan struct{}), claiming: map[string]chan struct{}{},
		vms: map[string]*podVM{}, starting: map[string]int64{},
	}
}

func (h *Hypervisor) open(ctx context.Context) error {
	if err := errors.Join(forbidCores(), h.layout.prepare(), h.layout.sweep()); err != nil {
		return err
	}
	var err error
	if h.boot, err = stageImage(h.layout, h.config.GuestImage); err != nil {
		return err
	}
	if h.accel, err = ProbeAccel(ctx, h.config); err != nil {
		return err
	}
	if err := h.syncNetwork(ctx); err != nil {
		return err
	}
	uids, err := h.layout.uids()
	if err != nil {
		return err
	}
	h.takeOverAll(ctx, uids)
	return nil
}

// Close lets go of all VMs and waits for the goroutines that tended them. The VMs run on.
func (h *Hypervisor) Close() {
	h.close.Do(func() { close(h.closing) })
	h.claims.Wait()
	for _, v := range h.known() {
		v.letGo()
	}
	h.tending.Wait()
}

// Accel is the accelerator that VMs get.
func (h *Hypervisor) Accel() Accel { return h.accel }

// change finds a VM, waits for its turn, and makes sure that this process holds it. ErrNotFound, ErrBusy.
func (h *Hypervisor) change(ctx context.Context, uid string) (*podVM, func(), error) {
	if !validUID.MatchString(uid) {
		return nil, nil, portlayer.ErrNotFound
	}
	unlock, err := h.changing.Take(ctx, uid)
	if err != nil {
		return nil, nil, err
	}
	v, err := h.find(uid)
	if err == nil && !v.claimed() {
		err = h.claim(ctx, v)
	}
	if err != nil {
		unlock()
		return nil, nil, err
	}
	return v, unlock, nil
}

// find returns a VM that is known, or that another process made meanwhile.
func (h *Hypervisor) find(uid string) (*podVM, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if v, ok := h.vms[uid]; ok {
		return v, nil
	}
	if !validUID.MatchString(uid) {
		return nil, portlayer.ErrNotFound
	}
	r, err := readRecord(h.layout.vm(uid))
	if err != nil {
		return nil, err
	}
	v := &podVM{uid: uid, dir: h.layout.vm(uid), record: r}
	h.vms[uid] = v
	return v, nil
}

func (h *Hypervisor) known() []*podVM {
	h.mu.Lock()
	defer h.mu.Unlock()
	vms := make([]*podVM, 0, len(h.vms))
	for _, v := range h.vms {
		vms = append(vms, v)
	}
	return vms
}

func (h *Hypervisor) forget(v *podVM) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.vms[v.uid] == v {
		delete(h.vms, v.uid)
	}
}

// List returns every VM of the directory. One whose record can't be read is left out, so that it does not hide the others; a
// warning and the condition PodVMsUnreadable name it.
func (h *Hypervisor) List(ctx context.Context) ([]portlayer.VM, error) {
	uids, err := h.layout.uids()
	if err != nil {
		return nil, err
	}
	h.takeOverAll(ctx, uids)
	return h.lookAll(ctx, uids)
}

// lookAll shows the VMs that can be read, and notes which can't.
func (h *Hypervisor) lookAll(ctx context.Context, uids []string) ([]portlayer.VM, error) {
	vms, damaged := make([]portlayer.VM, 0, len(uids)), map[string]error{}
	for _, uid := range uids {
		vm, err := h.look(uid)
		if errors.Is(err, portlayer.ErrNotFound) {
			continue // destroyed meanwhile
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("list VMs: %w", ctx.Err())
		}
		if _, ok := errors.AsType[*portlayer.FormatError](err); ok {
			return nil, err // a VM of another program's is to be served by that one
		}
		if err != nil {
			damaged[uid] = err
			continue
		}
		vms = append(vms, vm)
	}
	h.noteDamage(ctx, damaged)
	return vms, nil
}

// look shows one VM.
func (h *Hypervisor) look(uid string) (portlayer.VM, error) {
	v, err := h.find(uid)
	if err != nil {
		return portlayer.VM{}, err
	}
	vm, err := v.view()
	if errors.Is(err, portlayer.ErrNotFound) {
		h.forget(v)
	}
	return vm, err
}

// Watch sends UIDs of VMs that may have changed.
func (h *Hypervisor) Watch(ctx context.Context) <-chan string { return h.changed.Watch(ctx) }

// syncNetwork makes the network what the running VMs need, whoever holds them.
func (h *Hypervisor) syncNetwork(ctx context.Context) error {
	if h.config.Network == nil {
		return nil
	}
	vms, damaged, err := List(string(h.layout))
	if err != nil {
		return err
	}
	var ports []network.Port
	for _, vm := range vms {
		if vm.State == portlayer.StateRunning {
			ports = append(ports, networkPorts(vm.Spec)...)
		}
	}
	var unread []string
	for _, vm := range damaged {
		for i := range maxNICs {
			unread = append(unread, portKey(vm.UID, i))
		}
	}
	return h.config.Network.Sync(ctx, ports, unread...)
}

// portKey names a VM's interface on the switch.
func portKey(uid string, nic int) string { return fmt.Sprintf("%s/%d", uid, nic) }

// networkPorts are the switch ports of a VM's interfaces. checkSpec has seen the spec.
func networkPorts(s portlayer.Spec) []network.Port {
	ports := make([]network.Port, 0, len(s.NICs))
	for i, n := range s.NICs {
		address, _ := n.IPv4()
		ports = append(ports, network.Port{Key: portKey(s.ID, i), MAC: n.MAC, Address: address.Addr()})
	}
	return ports
}
