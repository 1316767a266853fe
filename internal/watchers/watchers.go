// Package watchers tells several readers which of many things may have changed. A slow reader holds up nobody: what its
// channel can't take is dropped, and found when it looks at everything.
package watchers

import (
	"context"
	"sync"
)

// backlog is how many changes a slow reader is owed.
const backlog = 1024

// Watchers are the readers that there are. The zero value has none; it is safe for concurrent use.
type Watchers struct {
	mu  sync.Mutex // guards all
	all map[chan string]struct{}
}

// Watch returns a channel of what is notified from now on. It is closed when ctx ends.
func (w *Watchers) Watch(ctx context.Context) <-chan string {
	changes := make(chan string, backlog)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all == nil {
		w.all = map[chan string]struct{}{}
	}
	w.all[changes] = struct{}{}
	context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.all, changes)
		close(changes)
	})
	return changes
}

// Notify tells the readers of a name, and never waits.
func (w *Watchers) Notify(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for changes := range w.all {
		select {
		case changes <- name:
		default:
		}
	}
}
