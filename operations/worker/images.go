package worker

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/internal/tracing"
	"github.com/virtual-kubelet/vic/operations/images"
)

// imageWait is the wait for one container's image. It stays when the image is here.
type imageWait struct {
	*images.Waiter
	ref    string
	cancel context.CancelFunc
}

// wantImage begins to bring the image of a container here.
func (w *Worker) wantImage(ctx context.Context, pod *corev1.Pod, c *corev1.Container) {
	ctx, cancel := context.WithCancel(w.start.within(ctx))
	starting := w.start.active()
	one := &imageWait{Waiter: w.Images.NewWaiter(w.loop.Wake), ref: c.Image, cancel: cancel}
	w.waits[c.Name] = one
	// Ends when the image is here or nobody wants it any more; releaseImages waits for it.
	w.pulling.Go(func() {
		defer cancel()
		began := time.Now()
		ctx, end := tracing.Start(ctx, "get image", tracing.Container(c.Name), tracing.Image(c.Image))
		one.Run(ctx, pod, c)
		end(ctx.Err())
		if starting && ctx.Err() == nil {
			w.Metrics.observe(stepImage, time.Since(began))
		}
	})
}

// dropImage ends the wait for a container's image, and forgets the image.
func (w *Worker) dropImage(container string) {
	if i, ok := w.waits[container]; ok {
		i.cancel()
		delete(w.waits, container)
	}
}

// dropLateImages ends the waits for images that are not here yet.
func (w *Worker) dropLateImages() {
	for name, i := range w.waits {
		if img, _ := i.State(); img == nil {
			w.dropImage(name)
		}
	}
}

// missImages forgets the images that are here, since somebody else has removed one of them. They are brought again.
func (w *Worker) missImages() {
	for name, i := range w.waits {
		if img, _ := i.State(); img != nil {
			w.dropImage(name)
		}
	}
}

// releaseImages ends all waits, and lets the images be collected that the pod was given.
func (w *Worker) releaseImages() {
	w.dropLateImages()
	w.pulling.Wait()
	w.Images.Release(w.uid)
}

// images are those that were asked for, as they are now.
func (w *Worker) images() map[string]image {
	all := make(map[string]image, len(w.waits))
	for name, i := range w.waits {
		here, waiting := i.State()
		all[name] = image{ref: i.ref, here: here, waiting: waiting}
	}
	return all
}
