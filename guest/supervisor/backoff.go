package supervisor

import "time"

// The kubelet's restart delays.
const (
	initialBackoff = 10 * time.Second
	maxBackoff     = 5 * time.Minute
	// resetAfter is how long a container has to run for its next failure to count as the first.
	resetAfter = 2 * maxBackoff
)

// backoff says how long restarts wait.
type backoff struct {
	delay   time.Duration // of the next restart
	updated time.Time     // when delay was last set
}

// due returns the delay of a restart after an end at finished.
func (b *backoff) due(finished time.Time) time.Duration {
	if finished.Sub(b.updated) > resetAfter {
		b.delay = 0
	}
	return b.delay
}

// restarted records a restart at now: the next one waits longer.
func (b *backoff) restarted(now time.Time) {
	b.delay = min(max(2*b.delay, initialBackoff), maxBackoff)
	b.updated = now
}
