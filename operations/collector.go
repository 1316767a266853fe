package operations

import (
	"context"
	"maps"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/operations/worker"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
)

// collect gives up the VMs of this node that have had no pod for a grace time, and what is kept of VMs that are gone. The
// grace time goes on over restarts of this program; otherwise one that is restarted again and again would collect nothing.
// Before the first complete list of pods nothing is an orphan.
func (m *Manager) collect(ctx context.Context) error {
	vms, err := m.owned(ctx)
	if err != nil {
		return err
	}
	for uid, record := range m.giveUp(ctx, vms) {
		if err := m.cfg.Host.Remember(ctx, string(uid), record); err != nil {
			logging.From(ctx).WarnContext(ctx, "record of an orphan was not kept", "vm", uid, "err", err)
		}
	}
	return nil
}

// giveUp forgets the orphans whose grace time is over, and returns what to keep of new ones, so that their grace
// time goes on in the next run.
func (m *Manager) giveUp(ctx context.Context, vms []podvm.VM) map[types.UID][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(m.tombstones, func(uid types.UID, at time.Time) bool {
		return m.workers[uid] == nil && now.Sub(at) > tombstoneLife
	})
	if !m.listed || m.shutdown {
		return nil
	}
	found, records := map[types.UID]bool{}, map[types.UID][]byte{}
	for _, vm := range vms {
		id := vm.Spec.Owner
		uid := types.UID(id.UID)
		found[uid] = true
		if m.workers[uid] != nil {
			continue
		}
		if _, ok := m.orphans[uid]; !ok {
			since, record := worker.OrphanedAt(vm.Record, now)
			m.orphans[uid] = since
			if record != nil {
				records[uid] = record
			}
		}
		if now.Sub(m.orphans[uid]) >= m.cfg.OrphanGrace {
			logging.From(ctx).WarnContext(ctx, "pod VM without a pod is removed", "pod", id.Namespace+"/"+id.Name, "vm", uid)
			m.cfg.Cache.Restore(uid, types.NamespacedName{Namespace: id.Namespace, Name: id.Name})
			m.forgetLocked(uid)
		}
	}
	maps.DeleteFunc(m.orphans, func(uid types.UID, _ time.Time) bool { return !found[uid] })
	return records
}
