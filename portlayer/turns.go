package portlayer

import (
	"context"
	"sync"
)

// turns lets one caller at a time change one pod VM.
type turns struct {
	mu   sync.Mutex // guards what follows
	held map[string]*turn
}

// turn is held by whoever has put a value into it; users counts that one and those who wait.
type turn struct {
	held  chan struct{}
	users int
}

// take waits for uid's turn until ctx ends. The caller gives it back by calling the returned function.
func (t *turns) take(ctx context.Context, uid string) (giveBack func(), err error) {
	t.mu.Lock()
	if t.held == nil {
		t.held = map[string]*turn{}
	}
	one, ok := t.held[uid]
	if !ok {
		one = &turn{held: make(chan struct{}, 1)}
		t.held[uid] = one
	}
	one.users++
	t.mu.Unlock()

	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if one.users--; one.users == 0 {
			delete(t.held, uid)
		}
	}
	select {
	case one.held <- struct{}{}:
		return func() { <-one.held; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
