package operations

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
)

// DeleterHost is what PodDeleter needs of the host.
type DeleterHost interface {
	Remove(ctx context.Context, uid string) error
	Forget(ctx context.Context, uid string) error
}

// TokenForgetter drops what is cached for a pod's volumes.
type TokenForgetter interface {
	Forget(uid types.UID)
}

// MemoryReleaser gives back reserved memory.
type MemoryReleaser interface {
	Release(uid string)
}

// DeleterConfig is what a PodDeleter works with.
type DeleterConfig struct {
	Host      DeleterHost
	Volumes   TokenForgetter
	Admission MemoryReleaser
}

// PodDeleter removes VMs that are powered off. It is safe for concurrent use.
type PodDeleter struct{ cfg DeleterConfig }

// NewPodDeleter returns a PodDeleter.
func NewPodDeleter(cfg DeleterConfig) *PodDeleter { return &PodDeleter{cfg: cfg} }

// Remove destroys the VM and gives back all that it held. The record of what happened in it stays. A missing VM is not an error.
func (d *PodDeleter) Remove(ctx context.Context, uid string) error {
	if err := d.cfg.Host.Remove(ctx, uid); err != nil {
		return err
	}
	d.cfg.Admission.Release(uid)
	return nil
}

// Forget removes what Remove kept, and the VM where there is one still.
func (d *PodDeleter) Forget(ctx context.Context, uid string) error {
	if err := d.Remove(ctx, uid); err != nil {
		return err
	}
	if err := d.cfg.Host.Forget(ctx, uid); err != nil {
		return err
	}
	d.cfg.Volumes.Forget(types.UID(uid))
	return nil
}
