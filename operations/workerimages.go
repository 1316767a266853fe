package operations

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/tracing"
	"github.com/virtual-kubelet/vic/operations/images"
	"github.com/virtual-kubelet/vic/operations/plan"
	"github.com/virtual-kubelet/vic/persona"
)

// containerImage is the wait for one container's image.
type containerImage struct {
	ref    string
	wait   *images.Waiter
	cancel context.CancelFunc
}

// wantImages begins to bring the images of all containers that the guest does not have.
func (w *worker) wantImages(ctx context.Context, v *view) {
	for _, m := range plan.Members(v.pod) {
		c := m.Container
		if _, ok := w.waits[c.Name]; ok || v.taken(m) || !w.mayRun(v, m) {
			continue
		}
		ctx, cancel := context.WithCancel(w.beginning.within(ctx))
		starting := w.beginning.active()
		one := &containerImage{
			ref: c.Image, cancel: cancel,
			wait: w.units.images.NewWaiter(w.wake),
		}
		w.waits[c.Name] = one
		// Ends when the image is here or nobody wants it any more; drain waits for it.
		w.pullers.Go(func() { w.bring(ctx, one.wait, bringing{v.pod, c, starting}) })
	}
}

// bringing is an image of a container that is being got.
type bringing struct {
	pod       *corev1.Pod
	container *corev1.Container
	starting  bool // it is part of the pod's start
}

// bring gets an image, however long that takes.
func (w *worker) bring(ctx context.Context, wait *images.Waiter, b bringing) {
	began := time.Now()
	ctx, end := tracing.Start(ctx, "get image", tracing.Container(b.container.Name), tracing.Image(b.container.Image))
	wait.Run(ctx, b.pod, b.container)
	end(ctx.Err())
	if b.starting && ctx.Err() == nil {
		w.metrics.stage(stageImage, time.Since(began))
	}
}

// dropImage ends the wait for a container's image, and forgets the image.
func (w *worker) dropImage(container string) {
	if i, ok := w.waits[container]; ok {
		i.cancel()
		delete(w.waits, container)
	}
}

// dropImages ends all waits.
func (w *worker) dropImages() {
	for name, i := range w.waits {
		if img, _ := i.wait.State(); img == nil {
			w.dropImage(name)
		} else {
			i.cancel()
		}
	}
}

// missImages forgets the images that are here, since one of them has been removed by somebody else; wantImages gets them
// again.
func (w *worker) missImages() {
	for name, i := range w.waits {
		if img, _ := i.wait.State(); img != nil {
			w.dropImage(name)
		}
	}
}

// image returns the image of a container, nil while it is not here.
func (w *worker) image(container string) *persona.Image {
	i, ok := w.waits[container]
	if !ok {
		return nil
	}
	img, _ := i.wait.State()
	return img
}

// images returns the images that are here, and whether those are all that the pod needs to begin.
func (w *worker) images(v *view) (here []persona.Image, all bool) {
	all = true
	for _, m := range plan.Members(v.pod) {
		if m.Role == wire.RoleEphemeral {
			continue
		}
		if img := w.image(m.Name); img != nil {
			here = append(here, *img)
		} else {
			all = false
		}
	}
	return here, all
}
