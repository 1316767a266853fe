package operations

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/steps"
)

// note is what is remembered of a pod beyond this run of the program, where neither the API server, the VM nor its guest
// could say it. A lost one costs a second event or a wait that begins anew, nothing else.
type note struct {
	// Gone tells that the API object is no more: a UID never comes back.
	Gone bool `json:"gone,omitempty"`
	// OrphanSince is when the VM was found without a pod; zero while it has one.
	OrphanSince time.Time `json:"orphanSince,omitzero"`
	// EndedBoot is the boot whose unexpected end was told. Ends counts such ends in a row, and RestartAt is when the VM
	// may start again.
	EndedBoot string    `json:"endedBoot,omitempty"`
	Ends      int       `json:"ends,omitempty"`
	RestartAt time.Time `json:"restartAt,omitzero"`
}

// readNote takes an unreadable note for none.
func readNote(text []byte) note {
	var n note
	if len(text) == 0 || json.Unmarshal(text, &n) != nil {
		return note{}
	}
	return n
}

// ended counts one more unexpected end of the VM, that of boot. As with containers, the first restart is at once.
func (n *note) ended(boot string, now time.Time) {
	n.EndedBoot, n.RestartAt = boot, now
	if n.Ends > 0 {
		delays := steps.Backoff{First: restartFirst, Max: restartMax, Failures: n.Ends - 1}
		n.RestartAt = now.Add(delays.Next())
	}
	n.Ends++
}

// recallNote takes up, once, what a former run of the program noted.
func (w *worker) recallNote(v *view) {
	if !w.recalled && v.vm != nil {
		w.note, w.recalled = readNote(v.vm.Record), true
	}
}

// keepNote has the host keep the note where it does not yet.
func (w *worker) keepNote(ctx context.Context, v *view) {
	w.note.Gone = w.note.Gone || v.gone
	if v.known && !v.gone {
		w.note.OrphanSince = time.Time{}
	}
	if v.vm == nil || w.note == (note{}) && len(v.vm.Record) == 0 {
		return
	}
	text, err := json.Marshal(w.note)
	if err == nil && !bytes.Equal(text, v.vm.Record) {
		err = w.observer.Remember(ctx, string(w.uid), text)
	}
	if err != nil {
		logging.From(ctx).WarnContext(ctx, "note of the pod not kept", "err", err)
	}
}

// noteOrphan has the host keep since when the VM has no pod, so that its grace time goes on in the next run.
func (m *Manager) noteOrphan(ctx context.Context, uid types.UID, n note) {
	text, err := json.Marshal(n)
	if err == nil {
		err = m.cfg.Host.Remember(ctx, string(uid), text)
	}
	if err != nil {
		logging.From(ctx).WarnContext(ctx, "note of the pod not kept", "podUID", uid, "err", err)
	}
}
