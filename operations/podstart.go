package operations

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/internal/tracing"
	"github.com/virtual-kubelet/vic/operations/status"
	"github.com/virtual-kubelet/vic/portlayer"
)

// podStart follows a new pod from when it was first seen to when it is Running: as a trace, and in the metrics. A nil one
// follows nothing, as does one that is over.
type podStart struct {
	metrics    *Metrics
	span       trace.Span
	seen       time.Time
	configured time.Time // when the guest took its plan
	ran        bool      // a container has run
	over       bool
}

// beginStart follows the pod of v, unless it has a VM or had one: that is no start.
func (w *worker) beginStart(v *view) *podStart {
	if v.state() != portlayer.StateRemoved || v.ending() || v.shutdown || final(v.previous.Phase) || everRan(v.previous) {
		return nil
	}
	return &podStart{
		metrics: w.metrics, seen: w.born,
		span: tracing.Begin("start pod", append(tracing.Pod(v.pod.Namespace, v.pod.Name, string(v.pod.UID)),
			attribute.Int("containers", len(v.pod.Spec.Containers)))...),
	}
}

func (s *podStart) active() bool { return s != nil && !s.over }

// within puts what is done in ctx below the start in its trace.
func (s *podStart) within(ctx context.Context) context.Context {
	if !s.active() {
		return ctx
	}
	return trace.ContextWithSpan(ctx, s.span)
}

// did notes that a step succeeded.
func (s *podStart) did(step string, took time.Duration) {
	if stage, ok := stageOf[step]; ok && s.active() {
		s.metrics.stage(stage, took)
	}
	if step == stepConfigure && s != nil {
		s.configured = time.Now()
	}
}

// reported notes what the pod's status says.
func (s *podStart) reported(st corev1.PodStatus) {
	if !s.active() {
		return
	}
	if !s.ran && !s.configured.IsZero() && everRan(st) {
		s.ran = true
		s.metrics.stage(stageRun, time.Since(s.configured))
	}
	switch {
	case st.Phase == corev1.PodRunning, st.Phase == corev1.PodSucceeded, st.Phase == corev1.PodFailed && everRan(st):
		s.metrics.starts.Observe(time.Since(s.seen).Seconds())
		s.end(nil)
	case st.Phase == corev1.PodFailed:
		s.end(errors.New(st.Reason + ": " + st.Message))
	}
}

// end ends what is followed; a second one does nothing.
func (s *podStart) end(err error) {
	if s.active() {
		s.over = true
		tracing.End(s.span, err)
	}
}

// errNotStarted ends the trace of a pod that was given up before it ran.
var errNotStarted = errors.New("pod was deleted, or this program ended, before it ran")

// noteStart follows the start of a pod that is new.
func (w *worker) noteStart(v *view) {
	if w.followed || !v.known {
		return
	}
	w.followed = true
	w.beginning = w.beginStart(v)
}

// noteStarted sees in what was reported how far the start is, and gives back what a pod reserved that is over.
func (w *worker) noteStarted(v *view, st corev1.PodStatus) {
	w.beginning.reported(st)
	if v.ending() {
		w.beginning.end(errNotStarted)
	}
	if final(st.Phase) || v.ending() && !v.running() {
		w.admission.Leave(w.uid)
	}
}

// rejection is the reason and message of a pod that was not admitted, as a kubelet has them.
func rejection(err error) (reason, message string) {
	if rejected, ok := errors.AsType[*RejectionError](err); ok {
		return rejected.Reason, rejected.Message
	}
	return reasonOutOfMemory, err.Error()
}

// rejectedStatus is how a pod that was not admitted shows it.
func (w *worker) rejectedStatus(in *status.Inputs) {
	if w.rejected != nil {
		reason, message := rejection(w.rejected)
		in.PodReason, in.PodMessage = reason, "Pod was rejected: "+message
	}
}
