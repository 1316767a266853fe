package operations

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/operations/plan"
	"github.com/virtual-kubelet/vic/operations/volumes"
	"github.com/virtual-kubelet/vic/operations/worker"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
)

// ClaimSource finds the disks of claims.
type ClaimSource interface {
	Disk(ctx context.Context, pod *corev1.Pod, v *corev1.Volume, driver string) (volumes.Disk, error)
}

// PodVolumes gives VMs the disks of their pods' claims while they are off, and takes them back. It is safe for concurrent use.
type PodVolumes struct {
	host   DiskHost
	claims ClaimSource
	driver string // whose volumes the host has
}

// NewPodVolumes returns a PodVolumes.
func NewPodVolumes(host DiskHost, claims ClaimSource, driver string) *PodVolumes {
	return &PodVolumes{host: host, claims: claims, driver: driver}
}

// An AttachError says why a VM does not get a disk.
type AttachError struct {
	// PersistentVolume is the cluster's name for it.
	PersistentVolume string
	Err              error
}

// Error says it as Kubernetes does.
func (e *AttachError) Error() string {
	if errors.Is(e.Err, portlayer.ErrVolumeInUse) {
		return fmt.Sprintf("Multi-Attach error for volume %q: %v", e.PersistentVolume, e.Err)
	}
	return fmt.Sprintf("AttachVolume.Attach failed for volume %q: %v", e.PersistentVolume, e.Err)
}

// Unwrap returns the cause.
func (e *AttachError) Unwrap() error { return e.Err }

// Attach gives vm all disks of pod that it has not, or none. Errors are *volumes.MountError for claims that stand for no
// disk, and *AttachError.
func (p *PodVolumes) Attach(ctx context.Context, pod *corev1.Pod, vm *podvm.VM) (worker.Attached, error) {
	attached := worker.Attached{Disks: map[string]plan.Disk{}}
	found, names := map[string]string{}, map[string]string{} // volumes by serial, and their names by volume
	claims := plan.Claims(pod)
	for i := range claims {
		v := &claims[i]
		disk, err := p.claims.Disk(ctx, pod, v, p.driver)
		if err != nil {
			return worker.Attached{}, err
		}
		serial := volumeSerial(disk.Volume)
		if disk.Leaving && !hasDisk(vm, serial) {
			return worker.Attached{}, &volumes.MountError{
				Reason:  volumes.ReasonFailedMount,
				Message: fmt.Sprintf("Unable to attach or mount volume %q: PVC %s/%s is being deleted", v.Name, pod.Namespace, plan.ClaimName(pod, v)),
			}
		}
		attached.Disks[v.Name] = plan.Disk{Serial: serial, ReadOnly: disk.ReadOnly, Block: disk.Block}
		found[serial], names[disk.Volume] = disk.Volume, disk.PersistentVolume
		if !hasDisk(vm, serial) && !slices.Contains(attached.New, disk.PersistentVolume) {
			attached.New = append(attached.New, disk.PersistentVolume)
		}
	}
	if err := p.attach(ctx, vm.ID(), found); err != nil {
		return worker.Attached{}, attachError(err, names)
	}
	return attached, nil
}

func (p *PodVolumes) attach(ctx context.Context, uid string, disks map[string]string) error {
	return p.change(ctx, uid, func(h *portlayer.Handle) (changed bool) {
		for _, serial := range slices.Sorted(maps.Keys(disks)) {
			changed = changed || !h.HasDisk(serial)
			h.AddVolume(serial, disks[serial])
		}
		return changed
	})
}

// Release takes all volumes from a VM that is off, so that others may have them.
func (p *PodVolumes) Release(ctx context.Context, uid string) error {
	return p.change(ctx, uid, func(h *portlayer.Handle) bool {
		all := h.Spec().Volumes()
		for _, d := range all {
			h.RemoveDisk(d.Serial)
		}
		return len(all) > 0
	})
}

// change commits what draft changes, if it does.
func (p *PodVolumes) change(ctx context.Context, uid string, draft func(*portlayer.Handle) bool) error {
	return replay(func() error {
		h, err := p.host.Open(ctx, uid)
		if err != nil {
			return err
		}
		defer p.host.Discard(h)
		if !draft(h) {
			return nil
		}
		if _, err := p.host.Commit(ctx, h); err != nil {
			return fmt.Errorf("change volumes: %w", err)
		}
		return nil
	})
}

// attachError names the persistent volume that err is about; all of them where err does not say.
func attachError(err error, names map[string]string) error {
	if failed, ok := errors.AsType[*portlayer.VolumeError](err); ok && names[failed.Volume] != "" {
		return &AttachError{PersistentVolume: names[failed.Volume], Err: failed}
	}
	all := fmt.Sprint(slices.Sorted(maps.Values(names)))
	return &AttachError{PersistentVolume: all[1 : len(all)-1], Err: err}
}

// volumeSerial names the disk of a volume in a VM, within the 36 characters that a serial number may have.
func volumeSerial(volume string) string {
	sum := sha256.Sum256([]byte(volume))
	return "vol-" + hex.EncodeToString(sum[:16])
}
