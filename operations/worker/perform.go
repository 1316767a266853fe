package worker

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/operations/events"
)

// perform does what must be done at once, in order. If something fails, the next look asks for it again.
func (w *Worker) perform(ctx context.Context, pod *corev1.Pod, effects []effect) {
	for _, e := range effects {
		switch e := e.(type) {
		case emit:
			w.Events.Container(pod, e.container, e.Notice)
		case reportSilence:
			w.reportSilence(ctx, pod, e.since)
		case acknowledge:
			w.acknowledge(ctx, e)
		case keep:
			if err := w.Host.Remember(ctx, string(w.uid), e.text()); err != nil {
				logging.From(ctx).WarnContext(ctx, "record of the pod was not kept", "err", err)
			}
		case tryNow:
			w.loop.Retries().Succeeded(e.name)
		case wantImage:
			w.wantImage(ctx, pod, e.container)
		case dropImage:
			w.dropImage(e.container)
		case dropLateImages:
			w.dropLateImages()
		case finish:
			w.Cache.Finish(w.uid)
		}
	}
}

// reportSilence shows the end of the console beside the pod: a kernel says there why.
func (w *Worker) reportSilence(ctx context.Context, pod *corev1.Pod, since time.Time) {
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	console, err := w.Host.Console(ctx, string(w.uid))
	if err != nil {
		logging.From(ctx).DebugContext(ctx, "console could not be read", "err", err)
	}
	w.Events.Pod(pod, events.Warning(eventUnreachable, "Guest has been silent since %s%s",
		since.UTC().Format(time.RFC3339), consoleEnd(string(console))))
}

func (w *Worker) acknowledge(ctx context.Context, e acknowledge) {
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	if err := w.Host.AckEvents(ctx, string(w.uid), e.bootID, e.last); err != nil {
		logging.From(ctx).DebugContext(ctx, "events were not acknowledged", "err", err)
	}
}
