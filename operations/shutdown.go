package operations

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/operations/worker"
	"github.com/virtual-kubelet/vic/portlayer"
)

// Shutdown ends all pods of the node within their grace periods and powers their VMs off; they stay what they are in the
// API, and run again when the node is back. When ctx ends first the power of those that are left is cut. With keep the VMs
// go on by themselves. Either way nothing is started any more; Run's context can end afterwards.
func (m *Manager) Shutdown(ctx context.Context, keep bool) error {
	if keep {
		m.refuseWork()
		return nil
	}
	select {
	case <-m.ready:
	case <-ctx.Done():
	}
	waiting, err := m.endWorkers(ctx)
	for _, w := range waiting {
		select {
		case <-w.Stopped():
		case <-ctx.Done():
			return errors.Join(err, m.cutPower(ctx))
		}
	}
	return err
}

func (m *Manager) refuseWork() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shutdown = true
}

// endWorkers has all workers end their pods, those of VMs of which no pod was seen too, and returns those that run.
func (m *Manager) endWorkers(ctx context.Context) ([]*worker.Worker, error) {
	vms, err := m.owned(context.WithoutCancel(ctx)) // also where ctx has ended: no worker may start a VM again
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, vm := range vms {
		if uid := types.UID(vm.ID()); vm.State == portlayer.StateRunning && m.workers[uid] == nil {
			m.changeLocked(uid, func(*worker.Worker) {})
		}
	}
	m.shutdown = true
	if m.ended {
		return nil, errors.Join(err, errors.New("shut down pods: the manager has ended"))
	}
	var all []*worker.Worker
	for _, w := range m.workers {
		w.Shutdown()
		all = append(all, w)
	}
	return all, err
}

// cutPower outlives ctx, whose end is what calls for it.
func (m *Manager) cutPower(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), powerOffTimeout)
	defer cancel()
	vms, err := m.owned(ctx)
	if err != nil {
		return err
	}
	// One that does not answer must not keep the others waiting.
	var group errgroup.Group
	for _, vm := range vms {
		if vm.State != portlayer.StateRunning {
			continue
		}
		logging.From(ctx).WarnContext(ctx, "pod did not end in time", "vm", vm.ID())
		group.Go(func() error {
			return m.cfg.Host.PowerOff(ctx, vm.ID())
		})
	}
	return group.Wait()
}
