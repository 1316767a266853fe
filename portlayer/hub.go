package portlayer

import (
	"context"
	"sync"
)

// watchBuffer is how many UIDs a watcher's channel holds; what is more waits, each UID once.
const watchBuffer = 16

// hub tells watchers which pods changed. Telling never blocks: a slow watcher gets each changed UID once.
type hub struct {
	mu       sync.Mutex // guards what follows
	watchers map[*watcher]struct{}
}

// watcher collects changed UIDs until they are taken.
type watcher struct {
	only string // the UID that it watches; all where empty

	mu      sync.Mutex // guards pending
	pending map[string]struct{}
	wake    chan struct{} // holds one signal while pending is not empty
}

// tell records that the pod of that UID may have changed.
func (h *hub) tell(uid string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		if w.only == "" || w.only == uid {
			w.add(uid)
		}
	}
}

// subscribe starts to watch one UID, or all where only is empty. The caller calls the returned function at the end.
func (h *hub) subscribe(only string) (*watcher, func()) {
	w := &watcher{only: only, pending: map[string]struct{}{}, wake: make(chan struct{}, 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watchers == nil {
		h.watchers = map[*watcher]struct{}{}
	}
	h.watchers[w] = struct{}{}
	return w, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.watchers, w)
	}
}

// watch delivers changed UIDs until ctx ends, and then closes the channel.
func (h *hub) watch(ctx context.Context) <-chan string {
	w, stop := h.subscribe("")
	out := make(chan string, watchBuffer)
	// Ends with ctx.
	go func() {
		defer close(out)
		defer stop()
		for {
			select {
			case <-w.wake:
			case <-ctx.Done():
				return
			}
			for _, uid := range w.take() {
				select {
				case out <- uid:
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return out
}

func (w *watcher) add(uid string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending[uid] = struct{}{}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *watcher) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	uids := make([]string, 0, len(w.pending))
	for uid := range w.pending {
		uids = append(uids, uid)
	}
	clear(w.pending)
	return uids
}
