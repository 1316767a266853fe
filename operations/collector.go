package operations

import (
	"context"
	"maps"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/virtual-kubelet/vic/internal/logging"
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
	for uid, n := range m.giveUp(ctx, vms) {
		m.noteOrphan(ctx, uid, n)
	}
	return nil
}

// giveUp forgets the orphans whose grace time is over, and returns the notes of new ones.
func (m *Manager) giveUp(ctx context.Context, vms []podvm.VM) map[types.UID]note {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(m.tombstones, func(uid types.UID, at time.Time) bool {
		return m.workers[uid] == nil && now.Sub(at) > tombstoneLife
	})
	if !m.listed || m.shutdown {
		return nil
	}
	found, notes := map[types.UID]bool{}, map[types.UID]note{}
	for _, vm := range vms {
		id := vm.Spec.Owner
		uid := types.UID(id.UID)
		found[uid] = true
		if m.workers[uid] != nil {
			continue
		}
		if _, ok := m.orphans[uid]; !ok {
			n := readNote(vm.Record)
			if n.OrphanSince.IsZero() || n.OrphanSince.After(now) {
				n.OrphanSince = now
				notes[uid] = n
			}
			m.orphans[uid] = n.OrphanSince
		}
		if now.Sub(m.orphans[uid]) >= m.cfg.OrphanGrace {
			logging.From(ctx).WarnContext(ctx, "pod VM without a pod is removed", "pod", id.Namespace+"/"+id.Name, "podUID", uid)
			m.cfg.Cache.Restore(uid, types.NamespacedName{Namespace: id.Namespace, Name: id.Name})
			m.forgetLocked(uid)
		}
	}
	maps.DeleteFunc(m.orphans, func(uid types.UID, _ time.Time) bool { return !found[uid] })
	return notes
}
