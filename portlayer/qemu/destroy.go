package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/internal/durable"
	"github.com/virtual-kubelet/vic/portlayer"
)

// Destroy powers the VM off and takes its directory away in one step; what a crash leaves of it, the next Open sweeps. It does
// so also where the VM's record can't be read.
func (h *Hypervisor) Destroy(ctx context.Context, uid string) error {
	v, unlock, err := h.change(ctx, uid)
	if errors.Is(err, portlayer.ErrNotFound) {
		return nil
	}
	if _, damaged := errors.AsType[*damage](err); damaged {
		v, unlock, err = h.changeDamaged(ctx, uid)
	}
	if err != nil {
		return fmt.Errorf("destroy VM %s: %w", uid, err)
	}
	defer unlock()
	if err := h.destroy(ctx, v); err != nil {
		return fmt.Errorf("destroy VM %s: %w", uid, err)
	}
	h.changed.Notify(uid)
	return nil
}

func (h *Hypervisor) destroy(ctx context.Context, v *podVM) error {
	if err := h.powerOff(ctx, v); err != nil {
		return err
	}
	trash, err := os.MkdirTemp(h.layout.vms(), trashPrefix)
	if err != nil {
		return spaceError(err)
	}
	if err := unix.Rename(v.dir, trash); err != nil { // os.Rename replaces no directory, not even an empty one
		return errors.Join(err, os.Remove(trash))
	}
	v.mu.Lock()
	v.gone = true
	v.mu.Unlock()
	v.letGo()
	h.forget(v)
	return errors.Join(durable.SyncDir(h.layout.vms()), os.RemoveAll(trash))
}
