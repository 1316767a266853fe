package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/qemu/qmp"
)

// Update replaces a VM's spec. Disks of a running VM come and go by hot-plug.
func (h *Hypervisor) Update(ctx context.Context, spec portlayer.Spec, version uint64) (portlayer.VM, error) {
	uid := spec.ID
	if err := checkSpec(spec); err != nil {
		return portlayer.VM{}, fmt.Errorf("update VM %q: %w", uid, err)
	}
	v, unlock, err := h.change(ctx, uid)
	if err != nil {
		return portlayer.VM{}, fmt.Errorf("update VM %s: %w", uid, err)
	}
	defer unlock()
	if err := h.update(ctx, v, spec.Clone(), version); err != nil {
		return portlayer.VM{}, fmt.Errorf("update VM %s: %w", uid, spaceError(err))
	}
	h.changed.Notify(uid)
	return v.view()
}

func (h *Hypervisor) update(ctx context.Context, v *podVM, spec portlayer.Spec, version uint64) error {
	r, p := v.current()
	if r.Version != version {
		return fmt.Errorf("it is at version %d, not %d: %w", r.Version, version, portlayer.ErrStaleHandle)
	}
	if p != nil && !sameHardware(r.Spec, spec) {
		return fmt.Errorf("a running VM keeps its boot, size and interfaces: %w", portlayer.ErrUnsupported)
	}
	if err := keepDisks(r.Spec.Disks, spec.Disks); err != nil {
		return err
	}
	unlock, err := h.making.Take(ctx, collectKey)
	if err != nil {
		return err
	}
	defer unlock()
	if err := h.imagesPresent(spec.Disks); err != nil {
		return err
	}
	err = h.changeDisks(ctx, v, spec.Disks)
	if err == nil {
		err = v.save(func(r *record) { r.Spec, r.Version = spec, r.Version+1 })
	}
	if err != nil {
		// What came is taken away and what went is brought back, so that the VM is as its record says.
		undone := undo(ctx, func(ctx context.Context) error { return h.changeDisks(ctx, v, r.Spec.Disks) })
		return errors.Join(err, undone, dropScratch(v.dir, spec.Disks, r.Spec.Disks))
	}
	return dropScratch(v.dir, r.Spec.Disks, spec.Disks)
}

// keepDisks refuses another disk under the serial of one that is there.
func keepDisks(from, to []portlayer.Disk) error {
	for _, d := range to {
		i := slices.IndexFunc(from, func(old portlayer.Disk) bool { return old.Serial == d.Serial })
		if i >= 0 && from[i] != d {
			return fmt.Errorf("disk %s can't become another: %w", d.Serial, portlayer.ErrUnsupported)
		}
	}
	return nil
}

// dropScratch deletes the files of scratch disks that to has no more.
func dropScratch(dir string, from, to []portlayer.Disk) error {
	var err error
	for _, d := range from {
		if d.Kind != portlayer.DiskScratch || slices.Contains(to, d) {
			continue
		}
		if e := os.Remove(scratchPath(dir, d.Serial)); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// changeDisks makes the files of new scratch disks and, in a running VM, plugs what to wants and unplugs the rest. It
// goes by what QEMU has, so that a repeat after a crash finishes what was begun.
func (h *Hypervisor) changeDisks(ctx context.Context, v *podVM, to []portlayer.Disk) error {
	for _, d := range to {
		if err := makeScratch(v.dir, d); err != nil {
			return err
		}
	}
	_, p := v.current()
	if p == nil {
		return nil
	}
	plugged, err := p.pluggedDisks(ctx)
	if err != nil {
		return fault(err)
	}
	for _, id := range plugged {
		if !slices.ContainsFunc(to, func(d portlayer.Disk) bool { return diskID(d.Serial) == id }) {
			if err := p.unplug(ctx, id); err != nil {
				return fmt.Errorf("unplug disk: %w", fault(err))
			}
		}
	}
	for _, d := range to {
		if slices.Contains(plugged, diskID(d.Serial)) {
			continue
		}
		if err := h.plug(ctx, v, p, d); err != nil {
			return fmt.Errorf("plug disk %s: %w", d.Serial, fault(err))
		}
	}
	return nil
}

// pluggedDisks returns the ids of the disk devices that QEMU has.
func (p *process) pluggedDisks(ctx context.Context) ([]string, error) {
	var devices []struct{ Name string }
	err := p.execute(ctx, qmp.Command{Name: "qom-list", Args: map[string]any{"path": "/machine/peripheral"}}, &devices)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, d := range devices {
		if strings.HasPrefix(d.Name, diskPrefix) {
			ids = append(ids, d.Name)
		}
	}
	return ids, nil
}

// plug gives a disk to a running VM: descriptor, block node, device. If it fails, it takes back what is left.
func (h *Hypervisor) plug(ctx context.Context, v *podVM, p *process, d portlayer.Disk) error {
	id := diskID(d.Serial)
	if err := p.dropBackend(ctx, id); err != nil { // of a try that was cut short
		return err
	}
	f, err := h.openDisk(v, d)
	if err != nil {
		return err
	}
	defer f.Close()
	var set struct {
		ID int `json:"fdset-id"`
	}
	add := qmp.Command{Name: "add-fd", Args: map[string]any{"opaque": id}, Files: []*os.File{f}}
	if err := p.execute(ctx, add, &set); err != nil {
		return err
	}
	err = p.execute(ctx, qmp.Command{Name: "blockdev-add", Args: nest(blockNode(d, set.ID))}, nil)
	if err == nil {
		device := nest(diskDevice(d))
		device["driver"] = "scsi-hd"
		err = p.execute(ctx, qmp.Command{Name: "device_add", Args: device}, nil)
	}
	if err != nil {
		return errors.Join(err, undo(ctx, func(ctx context.Context) error { return p.dropBackend(ctx, id) }))
	}
	return nil
}

// unplug takes a disk from a running VM.
func (p *process) unplug(ctx context.Context, id string) error {
	deleted := p.awaitDeletion(id)
	if err := p.execute(ctx, qmp.Command{Name: "device_del", Args: map[string]any{"id": id}}, nil); err != nil {
		return err
	}
	select {
	case <-deleted:
	case <-p.ended:
		return errEnded
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return p.dropBackend(ctx, id)
}

// dropBackend removes a disk's block node and descriptors, as far as they are there.
func (p *process) dropBackend(ctx context.Context, id string) error {
	var nodes []struct {
		Name string `json:"node-name"`
	}
	query := qmp.Command{Name: "query-named-block-nodes", Args: map[string]any{"flat": true}}
	if err := p.execute(ctx, query, &nodes); err != nil {
		return err
	}
	for _, n := range nodes {
		if n.Name != id {
			continue
		}
		if err := p.execute(ctx, qmp.Command{Name: "blockdev-del", Args: map[string]any{"node-name": id}}, nil); err != nil {
			return err
		}
	}
	var sets []struct {
		ID  int `json:"fdset-id"`
		FDs []struct {
			Opaque string
		}
	}
	if err := p.execute(ctx, qmp.Command{Name: "query-fdsets"}, &sets); err != nil {
		return err
	}
	for _, s := range sets {
		if len(s.FDs) == 0 || s.FDs[0].Opaque != id {
			continue
		}
		if err := p.execute(ctx, qmp.Command{Name: "remove-fd", Args: map[string]any{"fdset-id": s.ID}}, nil); err != nil {
			return err
		}
	}
	return nil
}

// fault makes an error of QMP one of the port layer's.
func fault(err error) error {
	var refused *qmp.Error
	switch {
	case errors.As(err, &refused):
		return errors.New("QEMU refused " + printable(refused.Error(), 500))
	case errors.Is(err, errSilent):
		return fmt.Errorf("%w: %w", portlayer.ErrBusy, err)
	case errors.Is(err, qmp.ErrClosed), errors.Is(err, errEnded):
		return fmt.Errorf("QEMU is gone: %w", portlayer.ErrNotRunning)
	}
	return err
}
