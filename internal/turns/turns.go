package turns

import (
	"context"
	"sync"
)

// Turns are the queues of keys. The zero value is ready, and safe for concurrent use.
type Turns struct {
	mu   sync.Mutex // guards keys
	keys map[string]*queue
}

// queue is that of one key: its token, and how many hold or want it.
type queue struct {
	token chan struct{}
	users int
}

// Take waits for key until ctx ends. The caller calls what it returns when done.
func (t *Turns) Take(ctx context.Context, key string) (giveBack func(), err error) {
	q := t.join(key)
	select {
	case q.token <- struct{}{}:
		return func() { <-q.token; t.leave(key, q) }, nil
	case <-ctx.Done():
		t.leave(key, q)
		return nil, context.Cause(ctx)
	}
}

func (t *Turns) join(key string) *queue {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.keys == nil {
		t.keys = map[string]*queue{}
	}
	q, ok := t.keys[key]
	if !ok {
		q = &queue{token: make(chan struct{}, 1)}
		t.keys[key] = q
	}
	q.users++
	return q
}

func (t *Turns) leave(key string, q *queue) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if q.users--; q.users == 0 {
		delete(t.keys, key)
	}
}
