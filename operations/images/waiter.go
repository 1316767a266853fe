package images

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/internal/wait"
	"github.com/virtual-kubelet/vic/operations/events"
	"github.com/virtual-kubelet/vic/operations/status"
	"github.com/virtual-kubelet/vic/persona"
	"github.com/virtual-kubelet/vic/steps"
)

// Waiter gets the image of one container of one pod, however often that has to be tried. It is safe for concurrent use.
type Waiter struct {
	images  *Manager
	changed func()

	mu      sync.Mutex // guards what is below
	waiting status.Waiting
	image   *persona.Image
}

// NewWaiter returns a Waiter that calls changed whenever its State has changed. It does nothing before Run.
func (m *Manager) NewWaiter(changed func()) *Waiter { return &Waiter{images: m, changed: changed} }

// State returns the image once it is here, and until then why the container waits for it.
func (w *Waiter) State() (*persona.Image, status.Waiting) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.image, w.waiting
}

func (w *Waiter) set(img *persona.Image, waiting status.Waiting) {
	w.mu.Lock()
	w.image, w.waiting = img, waiting
	w.mu.Unlock()
	w.changed()
}

// Run ends when the image is here or ctx ends.
func (w *Waiter) Run(ctx context.Context, pod *corev1.Pod, c *corev1.Container) {
	delays := steps.Backoff{First: pullFirst, Max: pullMax}
	for {
		img, err := w.images.Ensure(ctx, pod, c)
		switch {
		case err == nil:
			w.set(&img, status.Waiting{})
			return
		case ctx.Err() != nil:
			return
		}
		reason := reasonErrImagePull
		if failure, ok := errors.AsType[*Error](err); ok {
			reason = failure.Reason
		}
		w.set(nil, status.Waiting{Reason: reason, Message: err.Error()})
		if !w.pause(ctx, pod, c, pauseAfter{reason, err, delays.Next()}) {
			return
		}
	}
}

type pauseAfter struct {
	reason string
	err    error
	delay  time.Duration
}

// pause waits until the next try, and shows after a moment that it does. It answers false when ctx ended first.
func (w *Waiter) pause(ctx context.Context, pod *corev1.Pod, c *corev1.Container, after pauseAfter) bool {
	if after.reason != reasonErrImagePull {
		return wait.For(ctx, after.delay) == nil
	}
	if wait.For(ctx, pullErrorShown) != nil {
		return false
	}
	backOff := fmt.Sprintf("Back-off pulling image %q", c.Image)
	w.images.events.Container(pod, c.Name, events.Normal(eventBackOff, "%s", backOff))
	w.images.events.Container(pod, c.Name, events.Warning(eventFailed, "Error: %s", reasonImagePullBackOff))
	w.set(nil, status.Waiting{
		Reason:  reasonImagePullBackOff,
		Message: fmt.Sprintf("%s: %s: %v", backOff, reasonErrImagePull, cause(after.err)),
	})
	return wait.For(ctx, after.delay-pullErrorShown) == nil
}
