package podvm

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm/rundir"
)

// copyTimeout is how long Logs waits for the end of a log.
const copyTimeout = 5 * time.Second

// Logs returns the log of one attempt of a container from the run directory, whether its VM runs or not. portlayer.ErrNotFound
// when the container never ran, or not that often.
func (h *Host) Logs(ctx context.Context, id, container string, opts LogOptions) (io.ReadCloser, error) {
	p, err := h.pod(id, false)
	if err != nil || p == nil {
		return nil, fmt.Errorf("log of pod VM %s: %w", id, portlayer.ErrNotFound)
	}
	attempt, ok := p.attempt(container, opts)
	if !ok {
		return nil, fmt.Errorf("log of container %s in pod VM %s: %w", container, id, portlayer.ErrNotFound)
	}
	h.awaitCopy(ctx, p, container, attempt)
	r, err := p.dir.ReadLog(ctx, container, attempt, rundir.ReadOptions{
		Follow:     opts.Follow && !p.over(container, attempt),
		Tail:       opts.Tail,
		OnlyNew:    opts.OnlyNew,
		Since:      opts.Since,
		Timestamps: opts.Timestamps,
		LimitBytes: opts.LimitBytes,
	})
	if err != nil {
		return nil, fmt.Errorf("log of container %s in pod VM %s: %w", container, id, err)
	}
	return r, nil
}

// awaitCopy waits, for a while, until the log of an attempt that has ended is copied to its end: a user who asks for the log
// of a container that just failed wants to see why.
func (h *Host) awaitCopy(ctx context.Context, p *pod, container string, attempt int32) {
	changed, stop := h.hub.Follow(p.id)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, copyTimeout)
	defer cancel()
	for p.copying(container, attempt) {
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// copying reports whether an attempt has ended, and the rest of its log is on its way.
func (p *pod) copying(container string, attempt int32) bool {
	p.mu.Lock()
	link := p.link
	p.mu.Unlock()
	if link == nil {
		return false
	}
	if _, open := link.Greeted(); !open {
		return false
	}
	c, ok := p.status(container)
	if !ok {
		return false
	}
	t := ended(c, attempt)
	return t != nil && !p.logWhole(container, t)
}

// ended returns how an attempt ended; nil while it runs, and when the guest does not say any more.
func ended(c wire.ContainerStatus, attempt int32) *wire.Terminated {
	for _, t := range []*wire.Terminated{c.Current, c.Last} {
		if t != nil && t.Attempt == attempt {
			return t
		}
	}
	return nil
}

// status returns what the guest said last about a container.
func (p *pod) status(container string) (wire.ContainerStatus, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.guest == nil {
		return wire.ContainerStatus{}, false
	}
	return p.guest.Container(container)
}

// attempt returns which attempt's log opts means; false where there is none.
func (p *pod) attempt(container string, opts LogOptions) (int32, bool) {
	kept := p.dir.Attempts(container)
	latest, before, ran := attempts(p.status(container))
	if !ran && len(kept) > 0 { // the guest's word is missing, its log is not
		latest, ran = kept[len(kept)-1], true
		if len(kept) > 1 {
			before = kept[len(kept)-2]
		}
	}
	switch {
	case opts.Attempt != nil:
		return *opts.Attempt, slices.Contains(kept, *opts.Attempt) || (ran && *opts.Attempt == latest)
	case opts.Previous:
		return before, ran && before >= 0
	default:
		return latest, ran
	}
}

// attempts returns the attempt that runs or ran last, and the one before it as kubectl understands that: the latest that
// ended. -1 stands for none.
func attempts(c wire.ContainerStatus, known bool) (latest, before int32, ran bool) {
	before = -1
	if c.Last != nil {
		before = c.Last.Attempt
	}
	switch {
	case !known:
		return 0, before, false
	case c.State == wire.ContainerRunning:
		return c.RestartCount, before, true
	case c.Current != nil:
		return c.Current.Attempt, before, true
	case c.Last != nil: // waits for its next start
		return c.Last.Attempt, before, true
	}
	return 0, before, false
}

// over reports whether nothing will be added to an attempt's log any more.
func (p *pod) over(container string, attempt int32) bool {
	c, ok := p.status(container)
	if !ok {
		return false
	}
	if t := ended(c, attempt); t != nil {
		return p.logWhole(container, t)
	}
	return attempt < c.RestartCount
}
