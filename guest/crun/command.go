package crun

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/virtual-kubelet/vic/guest/probe"
	"github.com/virtual-kubelet/vic/guest/wire"
)

const (
	// maxCommands bounds what probes and hooks start at once. They have places of their own: a host that fills all others
	// makes no container unhealthy.
	maxCommands = 32
	maxOutput   = 10 << 10
)

// Exec implements [probe.Execer] for the pod's own probes and hooks. The time that the runtime needs to start the command
// does not count: in an emulated VM it is long.
func (t *task) Exec(ctx context.Context, args []string, timeout time.Duration) (int32, []byte, error) {
	r := t.runtime
	select {
	case r.commands <- struct{}{}:
	case <-ctx.Done():
		return 0, nil, ctx.Err()
	}
	out := &head{}
	s, err := r.exec(ctx, t, wire.Exec{Args: args}, sinks{out, out}, func() { <-r.commands })
	if err != nil {
		<-r.commands
		return 0, nil, err
	}
	var expired <-chan time.Time
	if timeout > 0 {
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case <-s.done:
		return s.exit.Code, out.bytes(), nil
	case <-expired:
		err = probe.ErrTimeout
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.Close()
	<-s.done
	return 0, out.bytes(), err
}

// head keeps the beginning of what is written to it, by any number of writers.
type head struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (h *head) Write(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.b.Write(b[:min(len(b), maxOutput-h.b.Len())]) // a buffer's Write never fails
	return len(b), nil
}

func (h *head) bytes() []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return bytes.Clone(h.b.Bytes())
}
