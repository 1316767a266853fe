package worker

import (
	"encoding/json"
	"time"

	"github.com/virtual-kubelet/vic/steps"
)

// record is what is remembered of a pod beyond this run of the program, where neither the API server, the VM nor its guest
// could say it. A lost one costs a second event or a wait that begins anew, nothing else.
type record struct {
	// Gone is true when the API object is no more: a UID never comes back.
	Gone bool `json:"gone,omitempty"`
	// OrphanSince is when the VM was found without a pod; zero while it has one.
	OrphanSince time.Time `json:"orphanSince,omitzero"`
	// OrphanHeld is true while an administrator has to say whether such a VM may go.
	OrphanHeld bool `json:"orphanHeld,omitempty"`
	// EndedBoot is the boot whose unexpected end was reported. Ends counts such ends in a row, and RestartAt is when the VM
	// may start again.
	EndedBoot string    `json:"endedBoot,omitempty"`
	Ends      int       `json:"ends,omitempty"`
	RestartAt time.Time `json:"restartAt,omitzero"`
}

// readRecord takes an unreadable one for none.
func readRecord(text []byte) record {
	var r record
	if len(text) == 0 || json.Unmarshal(text, &r) != nil {
		return record{}
	}
	return r
}

// ended counts one more unexpected end of the VM, that of boot. As with containers, the first restart is at once.
func (r *record) ended(boot string, now time.Time) {
	r.EndedBoot, r.RestartAt = boot, now
	if r.Ends > 0 {
		delays := steps.Backoff{First: restartFirst, Max: restartMax, Failures: r.Ends - 1}
		r.RestartAt = now.Add(delays.Next())
	}
	r.Ends++
}

// IsGone is true when a former run of the program kept that the pod's object is gone.
func IsGone(kept []byte) bool { return readRecord(kept).Gone }

// Orphan says how long a VM has been without a pod, and whether an administrator has to say that it may go.
type Orphan struct {
	Since time.Time
	Held  bool
}

// ReadOrphan returns what is kept beside a VM; the zero value where it had a pod until now.
func ReadOrphan(kept []byte) Orphan {
	r := readRecord(kept)
	return Orphan{Since: r.OrphanSince, Held: r.OrphanHeld}
}

// At is what it is now: its time began now where it had a pod until now, or where the clock went back.
func (o Orphan) At(now time.Time) Orphan {
	if o.Since.IsZero() || o.Since.After(now) {
		o.Since = now
	}
	return o
}

// KeepIn returns what to keep beside the VM.
func (o Orphan) KeepIn(kept []byte) []byte {
	r := readRecord(kept)
	r.OrphanSince, r.OrphanHeld = o.Since, o.Held
	return r.text()
}

// text is how a record is kept: as JSON, nil where it has a time that JSON can't say.
func (r *record) text() []byte {
	text, err := json.Marshal(r)
	if err != nil {
		return nil
	}
	return text
}
