package operations

import (
	"context"
	"maps"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/virtual-kubelet/vic/internal/logging"
)

// collect gives up the VMs of this node that have had no pod for a grace time, and what is kept of VMs that are gone.
// Before the first complete list of pods nothing is an orphan.
func (m *Manager) collect(ctx context.Context) error {
	vms, err := m.owned(ctx)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(m.tombstones, func(uid types.UID, at time.Time) bool {
		return m.workers[uid] == nil && now.Sub(at) > tombstoneLife
	})
	if !m.listed || m.shutdown {
		return nil
	}
	found := map[types.UID]bool{}
	for _, vm := range vms {
		id := vm.Spec.Identity
		uid := types.UID(id.UID)
		found[uid] = true
		if m.workers[uid] != nil {
			continue
		}
		since, ok := m.orphans[uid]
		switch {
		case !ok:
			m.orphans[uid] = now
		case now.Sub(since) >= m.cfg.OrphanGrace:
			logging.From(ctx).WarnContext(ctx, "pod VM without a pod is removed", "pod", id.Namespace+"/"+id.Name, "podUID", uid)
			m.cfg.Cache.Restore(uid, types.NamespacedName{Namespace: id.Namespace, Name: id.Name})
			m.forgetLocked(uid)
		}
	}
	maps.DeleteFunc(m.orphans, func(uid types.UID, _ time.Time) bool { return !found[uid] })
	return nil
}
