package operations

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/operations/events"
	"github.com/virtual-kubelet/vic/operations/plan"
	"github.com/virtual-kubelet/vic/operations/volumes"
)

// attached tells that the VM has the disks of all claims, and that we know which they are.
func (w *worker) attached(v *view) bool {
	for _, claim := range plan.Claims(v.pod) {
		if d, known := w.vms.disks[claim.Name]; !known || !hasDisk(v.vm, d.Serial) {
			return false
		}
	}
	return true
}

// attach gives the VM the disks of all claims. Until it has them it is not started.
func (w *worker) attach(v *view) step {
	return step{name: stepVolumes, build: true, timeout: volumesTimeout, run: func(ctx context.Context) outcome {
		attached, err := w.volumes.Attach(ctx, v.pod, v.vm)
		if err != nil {
			return outcome{err: err}
		}
		return outcome{then: func() {
			w.vms.disks = attached.Disks
			for _, name := range attached.New {
				w.events.Pod(v.pod, events.Normal(eventAttached, "AttachVolume.Attach succeeded for volume %q", name))
			}
		}}
	}}
}

// release takes the disks of claims from a VM that does not run again.
func (w *worker) release() step {
	return step{name: stepRelease, timeout: volumesTimeout, run: func(ctx context.Context) outcome {
		if err := w.volumes.Release(ctx, string(w.uid)); err != nil {
			return outcome{err: err}
		}
		return outcome{then: func() {
			w.vms.disks = nil
			w.freed()
		}}
	}}
}

// noteFreed has a worker that waits for a disk try again when another has given one back.
func (w *worker) noteFreed(v *view) {
	if v.freed != w.vms.freed {
		w.vms.freed = v.freed
		w.retries.Succeeded(stepVolumes)
	}
}

// tellVolumes tells users why a pod does not get its volumes.
func (w *worker) tellVolumes(pod *corev1.Pod, err error) {
	reason := eventFailedAttach
	if mount, ok := errors.AsType[*volumes.MountError](err); ok {
		reason = mount.Reason
	}
	w.events.Pod(pod, events.Warning(reason, "%v", err))
}

// volumesTimeout covers the search for a disk on many datastores, and a host that is slow to attach it.
const volumesTimeout = 3 * time.Minute

// volumesFreed tells all workers that a volume may be free.
func (m *Manager) volumesFreed() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range m.workers {
		w.tell(func(d *desired) { d.freed++ })
	}
}
