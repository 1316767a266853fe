package operations

import (
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// jitterFactor spreads repeated tries of many pods.
const jitterFactor = 0.2

// backoff counts failures; the delay after each is twice the one before.
type backoff struct {
	first, max time.Duration
	failures   int
}

// next counts one more failure and returns the delay after it.
func (b *backoff) next() time.Duration {
	d := b.first
	for range b.failures {
		if d *= 2; d >= b.max {
			d = b.max
			break
		}
	}
	b.failures++
	return d
}

// retries says by a step's name when it may be tried again.
type retries map[string]*retry

type retry struct {
	backoff
	until time.Time
	err   error
}

// failed notes that the step failed.
func (r retries) failed(step string, err error) {
	e, ok := r[step]
	if !ok {
		e = &retry{backoff: backoff{first: retryFirst, max: retryMax}}
		r[step] = e
	}
	e.err = err
	e.until = time.Now().Add(wait.Jitter(e.next(), jitterFactor))
}

// succeeded forgets the step's failures.
func (r retries) succeeded(step string) { delete(r, step) }

// wait returns how long the step has to wait; 0 is no more.
func (r retries) wait(step string) time.Duration {
	if e, ok := r[step]; ok {
		return max(0, time.Until(e.until))
	}
	return 0
}

// error returns why the step failed last; nil where it did not.
func (r retries) error(step string) error {
	if e, ok := r[step]; ok {
		return e.err
	}
	return nil
}
