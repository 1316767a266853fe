package node

import (
	"context"
	"errors"
	"net/http"
)

// readiness is whether this process serves: its only node is Ready, or it leads and listens to guests.
type readiness struct{ begun chan struct{} }

func newReadiness() *readiness { return &readiness{begun: make(chan struct{})} }

// begin is called once.
func (r *readiness) begin() { close(r.begun) }

func (r *readiness) wait(ctx context.Context) error {
	select {
	case <-r.begun:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// check answers a probe.
func (r *readiness) check(*http.Request) error {
	select {
	case <-r.begun:
		return nil
	default:
		return errors.New("it has only begun, or another process leads")
	}
}
