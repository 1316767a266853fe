package server

import (
	"context"
	"fmt"
	"time"

	"k8s.io/klog/v2"
)

// component is a part of the control plane that runs until it is cancelled. A nil one never began.
type component struct {
	name  string
	abort context.CancelFunc
	done  chan struct{}
	err   error // what run returned; to be read when done is closed
}

// startComponent runs the function in a goroutine that ends by cancel. The values of ctx go along, its end does not: the
// order of stopping is ours.
func startComponent(ctx context.Context, name string, run func(ctx context.Context) error) *component {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c := &component{name: name, abort: cancel, done: make(chan struct{})}
	go func() {
		// cancel ends it.
		defer close(c.done)
		c.err = run(ctx)
	}()
	return c
}

func (c *component) cancel() {
	if c != nil {
		c.abort()
	}
}

// wait returns once the component has ended, or when the time is up: what is left then ends with the process.
func (c *component) wait(limit time.Duration) error {
	if c == nil {
		return nil
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-c.done:
	case <-timer.C:
		klog.InfoS("Went on without waiting for the end of a component", "component", c.name, "waited", limit)
	}
	return nil
}

// ended is the error of a component that ended by itself.
func (c *component) ended() error {
	if c.err == nil {
		return fmt.Errorf("%s ended by itself", c.name)
	}
	return fmt.Errorf("%s ended: %w", c.name, c.err)
}

// ends is closed when the component has ended; for one that never began it never is.
func (c *component) ends() <-chan struct{} {
	if c == nil {
		return nil
	}
	return c.done
}
