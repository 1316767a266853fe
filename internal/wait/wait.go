// Package wait lets time pass, and stops with a context.
package wait

import (
	"context"
	"time"
)

// For returns after d, or with the context's cause as soon as ctx ends.
func For(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Until calls done at once and then at every interval, until it returns true or an error, or ctx ends, whose cause is
// returned then. It is for what gives no sign when it changes, such as a file's lock.
func Until(ctx context.Context, interval time.Duration, done func() (bool, error)) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}
