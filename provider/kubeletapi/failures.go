package kubeletapi

import (
	"maps"
	"net/netip"
	"sync"
	"time"
)

const (
	// failuresBurst is how many requests of one address may fail to authenticate in a row, or be undecided at a time.
	failuresBurst = 50
	// failuresInterval is how long it takes until an address may fail once more.
	failuresInterval = time.Second
	// maxFailing is how many addresses are watched.
	maxFailing = 4096
)

// failures bounds what those cost who come with tokens that nobody knows: each is a question to the API server. It is safe
// for concurrent use.
type failures struct {
	mu   sync.Mutex // guards from
	from map[netip.Addr]debt
}

// debt is what an address has used of its burst by a time. It goes down with time.
type debt struct {
	used int
	at   time.Time
}

func newFailures() *failures { return &failures{from: map[netip.Addr]debt{}} }

// begin counts a request of an address as failed until it has succeeded; false refuses it.
func (f *failures) begin(from netip.Addr) bool {
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.from[from].by(now)
	if d.used >= failuresBurst {
		return false
	}
	if len(f.from) >= maxFailing {
		maps.DeleteFunc(f.from, func(_ netip.Addr, d debt) bool { return d.by(now).used == 0 })
	}
	if len(f.from) < maxFailing || d.used > 0 {
		d.used++
		f.from[from] = d
	}
	return true
}

// succeeded takes back what begin has counted.
func (f *failures) succeeded(from netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.from[from].by(time.Now())
	if d.used--; d.used <= 0 {
		delete(f.from, from)
		return
	}
	f.from[from] = d
}

// by is what is left of a debt at a time.
func (d debt) by(now time.Time) debt {
	forgiven := int(now.Sub(d.at) / failuresInterval)
	if d.used <= forgiven {
		return debt{at: now}
	}
	return debt{used: d.used - forgiven, at: d.at.Add(time.Duration(forgiven) * failuresInterval)}
}
