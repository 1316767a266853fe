package operations

import (
	"context"
	"maps"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/portlayer"
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
	var approved string
	if node := m.cfg.Node().Object; node != nil {
		approved = node.Annotations[RemoveAnnotation]
	}
	for uid, record := range m.giveUp(ctx, vms, approved) {
		if err := m.cfg.Host.Remember(ctx, string(uid), record); err != nil {
			logging.From(ctx).WarnContext(ctx, "record of an orphan was not kept", "vm", uid, "err", err)
		}
	}
	return nil
}

// giveUp forgets the orphans whose grace time is over, and returns what to keep of new ones, so that their grace
// time goes on in the next run.
func (m *Manager) giveUp(ctx context.Context, vms []podvm.VM, approved string) map[types.UID][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(m.tombstones, func(uid types.UID, at time.Time) bool {
		return m.workers[uid] == nil && now.Sub(at) > tombstoneLife
	})
	if !m.listed || m.shutdown {
		return nil
	}
	waited := m.orphans.approval()
	records := m.orphans.see(vms, func(uid types.UID) bool { return m.workers[uid] != nil }, approved, now)
	if c := m.orphans.condition(m.cfg.NodeName); c.True && m.orphans.approval() != waited {
		logging.From(ctx).WarnContext(ctx, "pod VMs without pods are kept", "message", c.Message)
	}
	for _, uid := range m.orphans.over(m.cfg.OrphanGrace, now) {
		m.remove(ctx, uid, vms)
	}
	return records
}

// remove forgets an orphan, so that its VM goes.
func (m *Manager) remove(ctx context.Context, uid types.UID, vms []podvm.VM) {
	for _, vm := range vms {
		if id := vm.Spec.Owner; id.UID == string(uid) {
			logging.From(ctx).WarnContext(ctx, "pod VM without a pod is removed", "pod", id.Namespace+"/"+id.Name, "vm", uid)
			m.cfg.Cache.Restore(uid, types.NamespacedName{Namespace: id.Namespace, Name: id.Name})
		}
	}
	m.forgetLocked(uid)
}

// Conditions are what the Node says of its pods beyond what the VCH says of itself.
func (m *Manager) Conditions() []portlayer.Condition {
	m.mu.Lock()
	defer m.mu.Unlock()
	return []portlayer.Condition{m.orphans.condition(m.cfg.NodeName)}
}
