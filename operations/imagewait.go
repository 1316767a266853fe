package operations

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/virtual-kubelet/vic/operations/events"
	"github.com/virtual-kubelet/vic/operations/status"
	"github.com/virtual-kubelet/vic/persona"
	"github.com/virtual-kubelet/vic/steps"
)

// ImageEnsurer returns the image of a container, in one try, and holds it until the pod is released.
type ImageEnsurer interface {
	Ensure(ctx context.Context, pod *corev1.Pod, c *corev1.Container) (persona.Image, error)
	Release(uid types.UID)
}

// imageWait gets the image of one container of one pod, however often that has to be tried.
type imageWait struct {
	images ImageEnsurer
	events events.Writer
	wake   func() // called after each change

	mu      sync.Mutex // guards what is below
	waiting status.Waiting
	image   *persona.Image
}

// state returns the image once it is here, and until then why the container waits for it.
func (w *imageWait) state() (*persona.Image, status.Waiting) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.image, w.waiting
}

func (w *imageWait) set(img *persona.Image, waiting status.Waiting) {
	w.mu.Lock()
	w.image, w.waiting = img, waiting
	w.mu.Unlock()
	w.wake()
}

// run ends when the image is here or ctx ends.
func (w *imageWait) run(ctx context.Context, pod *corev1.Pod, c *corev1.Container) {
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
		if failure, ok := errors.AsType[*ImageError](err); ok {
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
func (w *imageWait) pause(ctx context.Context, pod *corev1.Pod, c *corev1.Container, after pauseAfter) bool {
	if after.reason != reasonErrImagePull {
		return sleep(ctx, after.delay)
	}
	if !sleep(ctx, pullErrorShown) {
		return false
	}
	backOff := fmt.Sprintf("Back-off pulling image %q", c.Image)
	w.events.Container(pod, c.Name, events.Normal(eventBackOff, "%s", backOff))
	w.events.Container(pod, c.Name, events.Warning(eventImageFailed, "Error: %s", reasonImagePullBackOff))
	w.set(nil, status.Waiting{
		Reason:  reasonImagePullBackOff,
		Message: fmt.Sprintf("%s: %s: %v", backOff, reasonErrImagePull, after.err),
	})
	return sleep(ctx, after.delay-pullErrorShown)
}

// sleep answers false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
