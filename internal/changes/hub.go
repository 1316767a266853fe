package changes

import (
	"context"
	"sync"
)

// Hub is where changes come in and readers get them. The zero value has no readers; it is safe for concurrent use.
type Hub struct {
	mu      sync.Mutex // guards readers
	readers map[*reader]struct{}
}

// reader is one that watches all names, or follows one or all.
type reader struct {
	all  bool
	name string        // the one that it follows
	wake chan struct{} // holds one signal once something has changed

	mu      sync.Mutex // guards what follows
	pending []string   // changed names, the oldest first; not of one that follows
	has     map[string]bool
}

// Notify says to every reader that what has that name may have changed.
func (h *Hub) Notify(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for r := range h.readers {
		r.add(name)
	}
}

// Watch delivers the names that change from now on, until ctx ends; then it closes the channel.
func (h *Hub) Watch(ctx context.Context) <-chan string {
	r := &reader{all: true, has: map[string]bool{}}
	stop := h.subscribe(r)
	out := make(chan string)
	// Ends with ctx.
	go func() {
		defer close(out)
		defer stop()
		r.deliver(ctx, out)
	}()
	return out
}

// Follow watches one name. The channel holds one signal when the name has changed since the last was taken; it is never
// closed. The caller calls stop at the end.
func (h *Hub) Follow(name string) (changed <-chan struct{}, stop func()) {
	return h.follow(&reader{name: name})
}

// FollowAll is Follow for whoever looks at everything, whatever has changed.
func (h *Hub) FollowAll() (changed <-chan struct{}, stop func()) { return h.follow(&reader{all: true}) }

func (h *Hub) follow(r *reader) (<-chan struct{}, func()) {
	stop := h.subscribe(r)
	return r.wake, stop
}

func (h *Hub) subscribe(r *reader) (stop func()) {
	r.wake = make(chan struct{}, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.readers == nil {
		h.readers = map[*reader]struct{}{}
	}
	h.readers[r] = struct{}{}
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.readers, r)
	}
}

func (r *reader) deliver(ctx context.Context, out chan<- string) {
	for {
		name, ok := r.take()
		if !ok {
			select {
			case <-r.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		select {
		case out <- name:
		case <-ctx.Done():
			return
		}
	}
}

func (r *reader) add(name string) {
	if !r.all && r.name != name {
		return
	}
	r.mu.Lock()
	if r.has != nil && !r.has[name] {
		r.has[name] = true
		r.pending = append(r.pending, name)
	}
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default: // it is awake, or about to be
	}
}

// take returns the name that has waited longest. It leaves pending before it is delivered: a change meanwhile counts again.
func (r *reader) take() (string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.pending) == 0 {
		return "", false
	}
	name := r.pending[0]
	r.pending = r.pending[1:]
	delete(r.has, name)
	return name, true
}
