package supervisor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/virtual-kubelet/vic/guest/probe"
	"github.com/virtual-kubelet/vic/guest/wire"
)

// maxProbeRetries is how often a probe is tried that can't be asked, as with the kubelet.
const maxProbeRetries = 3

// probeKind is the kubelet's name of a probe.
type probeKind string

const (
	startup   probeKind = "Startup"
	liveness  probeKind = "Liveness"
	readiness probeKind = "Readiness"
)

// monitor asks an attempt again and again.
type monitor struct {
	a    *attempt
	kind probeKind
	spec *wire.Probe

	latest probe.Result
	run    int32 // how many times in a row the answer was latest
}

// failing is what the kubelet says of a container whose probe failed.
func (m *monitor) failing() string { return strings.ToLower(string(m.kind)) + " probe" }

// probe begins to ask about the container's health, until ctx ends, and says which probe it failed.
func (a *attempt) probe(ctx context.Context) <-chan *monitor {
	failed := make(chan *monitor, 1)
	c := a.Container
	// Ends when the startup probe has succeeded or failed, and starts the other two.
	go func() {
		if c.StartupProbe != nil && !a.startUp(ctx, failed) {
			return
		}
		if c.ReadinessProbe != nil {
			// Ends with ctx.
			go a.watchReadiness(ctx)
		}
		if c.LivenessProbe != nil {
			a.watchLiveness(ctx, failed)
		}
	}()
	return failed
}

// startUp is true when the startup probe has succeeded.
func (a *attempt) startUp(ctx context.Context, failed chan<- *monitor) (ok bool) {
	m := &monitor{a: a, kind: startup, spec: a.Container.StartupProbe}
	m.each(ctx, func(healthy bool) bool {
		if healthy {
			ok = true
			a.current(a.startedLocked)
		} else {
			failed <- m
		}
		return false
	})
	return ok
}

func (a *attempt) watchReadiness(ctx context.Context) {
	m := &monitor{a: a, kind: readiness, spec: a.Container.ReadinessProbe}
	m.each(ctx, func(healthy bool) bool {
		a.current(func(st *wire.ContainerStatus) { st.Ready = healthy })
		return true
	})
}

func (a *attempt) watchLiveness(ctx context.Context, failed chan<- *monitor) {
	m := &monitor{a: a, kind: liveness, spec: a.Container.LivenessProbe}
	m.each(ctx, func(healthy bool) bool {
		if !healthy {
			failed <- m
		}
		return healthy
	})
}

// current changes the status while the attempt still runs.
func (a *attempt) current(change func(*wire.ContainerStatus)) {
	a.c.s.mu.Lock()
	defer a.c.s.mu.Unlock()
	if a.c.task != a.task {
		return
	}
	former := a.c.status
	change(&a.c.status)
	if former != a.c.status {
		a.c.reportLocked()
	}
}

// unwell reports what a probe found, while the attempt still runs. The latest of each kind is kept.
func (a *attempt) unwell(e wire.Event, kind string) {
	a.c.s.mu.Lock()
	defer a.c.s.mu.Unlock()
	if a.c.task != a.task {
		return
	}
	e.Container = a.c.status.Name
	a.c.s.events.add(e, kind)
	a.c.s.changedLocked()
}

// each asks once a period, and calls conclude each time that a threshold is reached, until it returns false. A pod that
// ends is asked only for its readiness.
func (m *monitor) each(ctx context.Context, conclude func(healthy bool) bool) {
	delay := time.NewTimer(time.Until(m.a.started.Add(m.spec.InitialDelay)))
	defer delay.Stop()
	select {
	case <-delay.C:
	case <-ctx.Done():
		return
	}
	ticker := time.NewTicker(max(m.spec.Period, time.Second))
	defer ticker.Stop()
	for {
		if m.kind != readiness && m.a.c.s.isEnding() {
			return
		}
		if healthy, sure := m.ask(ctx); sure && !conclude(healthy) {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// ask asks once. It is sure when the answer has come as often in a row as its threshold says.
func (m *monitor) ask(ctx context.Context) (healthy, sure bool) {
	outcome := m.try(ctx)
	if ctx.Err() != nil {
		return false, false
	}
	m.report(outcome)
	if outcome.Err != nil {
		return false, false
	}
	result, threshold := probe.Success, m.spec.SuccessThreshold
	if outcome.Result != probe.Success && outcome.Result != probe.Warning {
		result, threshold = probe.Failure, m.spec.FailureThreshold
	}
	if result != m.latest {
		m.latest, m.run = result, 0
	}
	m.run++
	return result == probe.Success, m.run >= threshold
}

// try tries again where the container could not be asked.
func (m *monitor) try(ctx context.Context) (outcome probe.Outcome) {
	for range maxProbeRetries {
		outcome = m.a.c.s.Prober.Probe(ctx, *m.spec, m.a.target())
		if outcome.Err == nil || ctx.Err() != nil {
			break
		}
	}
	return outcome
}

// report lets a user see what is not well.
func (m *monitor) report(o probe.Outcome) {
	e := wire.Event{Warning: true, Reason: eventUnhealthy}
	switch {
	case o.Err != nil:
		e.Message = fmt.Sprintf("%s probe errored and resulted in %s state: %s", m.kind, o.Result, o.Err)
	case o.Result == probe.Failure:
		e.Message = fmt.Sprintf("%s probe failed: %s", m.kind, o.Output)
	case o.Result == probe.Warning:
		e.Reason, e.Message = eventProbeWarning, fmt.Sprintf("%s probe warning: %s", m.kind, o.Output)
	default:
		return
	}
	m.a.unwell(e, string(m.kind))
}
