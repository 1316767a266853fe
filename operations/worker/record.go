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

// OrphanedAt returns since when a VM has been without a pod, by what is kept beside it, and what is to be kept there; that
// is nil where it need not change. Since is now where it had a pod until now.
func OrphanedAt(kept []byte, now time.Time) (since time.Time, keep []byte) {
	r := readRecord(kept)
	if !r.OrphanSince.IsZero() && !r.OrphanSince.After(now) {
		return r.OrphanSince, nil
	}
	r.OrphanSince = now
	return now, r.text()
}

// text is how a record is kept: as JSON, nil where it has a time that JSON can't say.
func (r *record) text() []byte {
	text, err := json.Marshal(r)
	if err != nil {
		return nil
	}
	return text
}
