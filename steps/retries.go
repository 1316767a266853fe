package steps

import (
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// Jitter is the share by which repeated tries are spread, so that those of many things do not meet.
const Jitter = 0.2

// Retries says by name what may be tried again, and when. It is not safe for concurrent use.
type Retries struct {
	first, max time.Duration
	tries      map[string]*try
}

type try struct {
	Try
	backoff Backoff
}

// Try is how the last try of something failed.
type Try struct {
	Err error
	// Until is when it may be tried again.
	Until time.Time
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
	e.Err = err
	e.Until = time.Now().Add(wait.Jitter(e.backoff.Next(), Jitter))
}

// Succeeded forgets all failures of that name.
func (r *Retries) Succeeded(name string) { delete(r.tries, name) }

// Wait returns how long name has to wait; 0 means no more.
func (r *Retries) Wait(name string) time.Duration {
	if e, ok := r.tries[name]; ok {
		return max(0, time.Until(e.Until))
	}
	return 0
}

// Failures returns the last try of each name that failed and has not succeeded since.
func (r *Retries) Failures() map[string]Try {
	all := make(map[string]Try, len(r.tries))
	for name, t := range r.tries {
		all[name] = t.Try
	}
	return all
}
