package worker

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/internal/tracing"
	"github.com/virtual-kubelet/vic/portlayer"
)

// errNotStarted ends the trace of a pod that was given up before it ran.
var errNotStarted = errors.New("pod was deleted, or this program ended, before it ran")

// start follows a new pod from when it was heard of to when it is Running: as a trace, and in the metrics. It follows no
// pod that has a VM, or had one, when it is looked at first: that is not a start.
type start struct {
	metrics    *Metrics
	heard      time.Time
	judged     bool       // whether the pod is new
	trace      trace.Span // nil: the pod is not followed, or not any more
	configured time.Time  // when the guest took its plan
	ran        bool       // a container has run
}

// begin follows the pod of v if it is new. A second call does nothing.
func (s *start) begin(v *view) {
	if s.judged {
		return
	}
	s.judged = true
	if v.state() != portlayer.StateRemoved || v.Turned() || final(v.status.Phase) || EverRan(v.status) {
		return
	}
	s.trace = tracing.Begin("start pod", append(tracing.Pod(v.pod.Namespace, v.pod.Name, string(v.pod.UID)),
		attribute.Int("containers", len(v.pod.Spec.Containers)))...)
}

func (s *start) active() bool { return s.trace != nil }

// span is what steps stand below; nil is nothing.
func (s *start) span() trace.Span { return s.trace }

// within puts what is done in ctx below the start in its trace.
func (s *start) within(ctx context.Context) context.Context {
	if !s.active() {
		return ctx
	}
	return trace.ContextWithSpan(ctx, s.trace)
}

// did takes a step that succeeded.
func (s *start) did(step string, took time.Duration) {
	if !s.active() {
		return
	}
	switch step {
	case stepCreate, stepPowerOn:
		s.metrics.observe(step, took)
	case stepConfigure:
		s.metrics.observe(step, took)
		s.configured = time.Now()
	}
}

// reported takes what the pod's status says.
func (s *start) reported(st corev1.PodStatus) {
	if !s.active() {
		return
	}
	if !s.ran && !s.configured.IsZero() && EverRan(st) {
		s.ran = true
		s.metrics.observe(stepRun, time.Since(s.configured))
	}
	switch {
	case st.Phase == corev1.PodRunning, st.Phase == corev1.PodSucceeded, st.Phase == corev1.PodFailed && EverRan(st):
		s.metrics.starts.Observe(time.Since(s.heard).Seconds())
		s.end(nil)
	case st.Phase == corev1.PodFailed:
		s.end(errors.New(st.Reason + ": " + st.Message))
	}
}

// end ends what is followed; a second one does nothing.
func (s *start) end(err error) {
	if s.active() {
		tracing.End(s.trace, err)
		s.trace = nil
	}
}
