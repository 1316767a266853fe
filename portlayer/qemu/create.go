package qemu

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/internal/durable"
	"github.com/virtual-kubelet/vic/internal/filelock"
	"github.com/virtual-kubelet/vic/portlayer"
)

// Every QEMU runs as a user and group of its own when we are root, from ownerBase on: above what systemd gives to
// containers, below its ranges for foreign images (systemd's UIDS-GIDS.md), and too wide for VCHs side by side to meet.
const (
	ownerBase  = 2_000_000_000
	ownerCount = 100_000_000
)

// Create makes the VM's directory under another name, whole, and then gives it its own.
func (h *Hypervisor) Create(ctx context.Context, spec portlayer.Spec) (portlayer.VM, error) {
	uid := spec.ID
	if err := checkSpec(spec); err != nil {
		return portlayer.VM{}, fmt.Errorf("create VM %q: %w", uid, err)
	}
	unlock, err := h.changing.Take(ctx, uid)
	if err != nil {
		return portlayer.VM{}, fmt.Errorf("create VM %s: %w", uid, err)
	}
	defer unlock()
	v, err := h.create(ctx, spec)
	if err != nil {
		return portlayer.VM{}, fmt.Errorf("create VM %s: %w", uid, spaceError(err))
	}
	h.changed.Notify(uid)
	return v.view()
}

func (h *Hypervisor) create(ctx context.Context, spec portlayer.Spec) (*podVM, error) {
	unlock, err := h.making.Take(ctx, collectKey)
	if err != nil {
		return nil, err
	}
	defer unlock()
	uid := spec.ID
	dir := h.layout.vm(uid)
	if _, err := os.Lstat(dir); err == nil {
		if _, err := readRecord(dir); err != nil && !errors.Is(err, portlayer.ErrNotFound) {
			return nil, fmt.Errorf("%w, and %w", portlayer.ErrExists, err)
		}
		return nil, portlayer.ErrExists
	}
	if err := h.imagesPresent(spec.Disks); err != nil {
		return nil, err
	}
	owner, err := h.leaseOwner(uid)
	if err != nil {
		return nil, err
	}
	r := &record{
		Format: portlayer.Format, Spec: spec.Clone(), Version: 1, UUID: vmUUID(string(h.layout), uid), Owner: owner, CreatedAt: time.Now().UTC(),
	}
	held, err := makeVM(dir, r)
	if err != nil {
		return nil, err
	}
	v := &podVM{uid: uid, dir: dir, record: r, held: held}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.vms[uid] = v
	return v, nil
}

// makeVM returns the lock of the VM that it made.
func makeVM(dir string, r *record) (held *os.File, err error) {
	temp, err := os.MkdirTemp(filepath.Dir(dir), newPrefix)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err == nil {
			return
		}
		if held != nil {
			_ = held.Close() // gives up the lock, whatever close says
		}
		err = errors.Join(err, os.RemoveAll(temp))
	}()
	if held, err = filelock.Try(filepath.Join(temp, lockFile)); err != nil {
		return held, err
	}
	if r.Owner != 0 { // kept apart from the record too, which may become unreadable
		if err := held.Chown(int(r.Owner), int(r.Owner)); err != nil {
			return held, err
		}
	}
	for _, d := range r.Spec.Disks {
		if err := makeScratch(temp, d); err != nil {
			return held, err
		}
	}
	if err := errors.Join(writeJSON(filepath.Join(temp, recordFile), r), durable.SyncDir(temp)); err != nil {
		return held, err
	}
	if err := os.Rename(temp, dir); err != nil {
		if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, fs.ErrExist) {
			err = portlayer.ErrExists
		}
		return held, err
	}
	return held, durable.SyncDir(filepath.Dir(dir))
}

func scratchPath(dir, serial string) string { return filepath.Join(dir, "scratch-"+serial+".img") }

// makeScratch makes a sparse file for a scratch disk, and nothing for an image's. One that is there keeps its content.
func makeScratch(dir string, d portlayer.Disk) error {
	if d.Kind != portlayer.DiskScratch {
		return nil
	}
	f, err := os.OpenFile(scratchPath(dir, d.Serial), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	err = f.Truncate(roundUp(d.SizeBytes, 4096))
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func roundUp(n, unit int64) int64 { return (n + unit - 1) / unit * unit }

// leaseOwner picks the user of a new VM: by hash, so that VCHs of one machine differ, and never one that another VM of
// this VCH has.
func (h *Hypervisor) leaseOwner(uid string) (uint32, error) {
	if os.Geteuid() != 0 {
		return 0, nil
	}
	uids, err := h.layout.uids()
	if err != nil {
		return 0, err
	}
	taken := map[uint32]bool{}
	for _, other := range uids {
		var lock unix.Stat_t
		if unix.Stat(filepath.Join(h.layout.vm(other), lockFile), &lock) == nil {
			taken[lock.Uid] = true
		}
		r, err := readRecord(h.layout.vm(other))
		if err != nil { // what it would be given is most likely what it has
			taken[h.firstChoice(other)] = true
			continue
		}
		taken[r.Owner] = true
	}
	owner := h.firstChoice(uid)
	for taken[owner] {
		owner = ownerBase + (owner-ownerBase+1)%ownerCount
	}
	return owner, nil
}

// firstChoice is the user that a VM gets unless another one has it.
func (h *Hypervisor) firstChoice(uid string) uint32 {
	sum := fnv.New64a()
	_, _ = sum.Write([]byte(vmUUID(string(h.layout), uid))) // a hash never fails
	return ownerBase + uint32(binary.BigEndian.Uint64(sum.Sum(nil))%ownerCount)
}
