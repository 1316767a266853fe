package qemu

import (
	"context"
	"sync"
)

// turns lets callers have a key one at a time. The zero value is ready.
type turns struct {
	mu   sync.Mutex // guards keys
	keys map[string]*turn
}

// turn is the queue for one key: its token, and how many hold or want it.
type turn struct {
	token chan struct{}
	users int
}

// lock waits for key until ctx ends. The caller calls what it returns when done.
func (t *turns) lock(ctx context.Context, key string) (func(), error) {
	k := t.join(key)
	select {
	case k.token <- struct{}{}:
		return func() { <-k.token; t.leave(key, k) }, nil
	case <-ctx.Done():
		t.leave(key, k)
		return nil, context.Cause(ctx)
	}
}

func (t *turns) join(key string) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.keys == nil {
		t.keys = map[string]*turn{}
	}
	k, ok := t.keys[key]
	if !ok {
		k = &turn{token: make(chan struct{}, 1)}
		t.keys[key] = k
	}
	k.users++
	return k
}

func (t *turns) leave(key string, k *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if k.users--; k.users == 0 {
		delete(t.keys, key)
	}
}
