package steps

import (
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// Jitter is the share by which repeated tries are spread, so that those of many things do not meet.
const Jitter = 0.2

// Backoff counts failures; the delay after each is twice the one before. The zero value has no delays.
type Backoff struct {
	// First is the delay after the first failure; none is longer than Max.
	First, Max time.Duration
	// Failures is how many there were.
	Failures int
}

// Next counts one more failure and returns the delay after it.
func (b *Backoff) Next() time.Duration {
	d := b.First
	for range b.Failures {
		if d *= 2; d >= b.Max {
			d = b.Max
			break
		}
	}
	b.Failures++
	return d
}

// Retries says by name what may be tried again, and when. It is not safe for concurrent use.
type Retries struct {
	first, max time.Duration
	tries      map[string]*try
}

type try struct {
	backoff Backoff
	until   time.Time
	err     error
}

// NewRetries returns Retries whose delays begin with first and double up to max.
func NewRetries(first, max time.Duration) *Retries {
	return &Retries{first: first, max: max, tries: map[string]*try{}}
}

// Failed counts a failure.
func (r *Retries) Failed(name string, err error) {
	e, ok := r.tries[name]
	if !ok {
		e = &try{backoff: Backoff{First: r.first, Max: r.max}}
		r.tries[name] = e
	}
	e.err = err
	e.until = time.Now().Add(wait.Jitter(e.backoff.Next(), Jitter))
}

// Succeeded forgets all failures of that name.
func (r *Retries) Succeeded(name string) { delete(r.tries, name) }

// Wait returns how long name has to wait; 0 is no more.
func (r *Retries) Wait(name string) time.Duration {
	if e, ok := r.tries[name]; ok {
		return max(0, time.Until(e.until))
	}
	return 0
}

// Err returns why name failed last; nil where it did not.
func (r *Retries) Err(name string) error {
	if e, ok := r.tries[name]; ok {
		return e.err
	}
	return nil
}
