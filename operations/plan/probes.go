package plan

import (
	"cmp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/operations/environment"
)

// What the API server fills in for a probe that does not say it.
const (
	defaultProbePeriod     = 10
	defaultProbeTimeout    = 1
	defaultProbeSuccesses  = 1
	defaultProbeFailures   = 3
	defaultProbeHTTPScheme = "http"
)

// health adds the probes and hooks of c to out.
func health(out *wire.Container, c *corev1.Container, env []string) error {
	a := actions{container: c, lookup: environment.Lookup(env)}
	for _, p := range []struct {
		field string
		probe *corev1.Probe
		to    **wire.Probe
	}{
		{"startupProbe", c.StartupProbe, &out.StartupProbe},
		{"livenessProbe", c.LivenessProbe, &out.LivenessProbe},
		{"readinessProbe", c.ReadinessProbe, &out.ReadinessProbe},
	} {
		if p.probe == nil {
			continue
		}
		probe, err := a.probe(p.probe)
		if err != nil {
			return configError("%s: %v", p.field, err)
		}
		*p.to = probe
	}
	l := c.Lifecycle
	if l == nil {
		return nil
	}
	var err error
	if out.PostStart, err = a.hook(l.PostStart); err != nil {
		return configError("lifecycle.postStart: %v", err)
	}
	if out.PreStop, err = a.hook(l.PreStop); err != nil {
		return configError("lifecycle.preStop: %v", err)
	}
	if l.StopSignal != nil {
		out.StopSignal = string(*l.StopSignal)
	}
	return nil
}

// actions turns what probes and hooks of one container do into the guest's terms.
type actions struct {
	container *corev1.Container
	lookup    func(string) (string, bool)
}

func (a actions) probe(p *corev1.Probe) (*wire.Probe, error) {
	w := &wire.Probe{
		InitialDelay:     inSeconds(p.InitialDelaySeconds),
		Period:           inSeconds(cmp.Or(p.PeriodSeconds, defaultProbePeriod)),
		Timeout:          inSeconds(cmp.Or(p.TimeoutSeconds, defaultProbeTimeout)),
		SuccessThreshold: cmp.Or(p.SuccessThreshold, defaultProbeSuccesses),
		FailureThreshold: cmp.Or(p.FailureThreshold, defaultProbeFailures),
	}
	if s := p.TerminationGracePeriodSeconds; s != nil {
		w.Grace = new(inSeconds(*s))
	}
	var err error
	switch {
	case p.Exec != nil:
		for _, s := range p.Exec.Command {
			w.Action.Exec = append(w.Action.Exec, environment.Expand(s, a.lookup))
		}
	case p.HTTPGet != nil:
		w.Action.HTTP, err = a.http(p.HTTPGet)
	case p.TCPSocket != nil:
		w.Action.TCP, err = a.tcp(p.TCPSocket)
	case p.GRPC != nil:
		w.Action.GRPC, err = a.grpc(p.GRPC)
	}
	return w, err
}

// hook is nil where there is nothing to do. A kubelet expands no variables in the command of a hook.
func (a actions) hook(h *corev1.LifecycleHandler) (*wire.Action, error) {
	switch {
	case h == nil:
		return nil, nil
	case h.Exec != nil:
		return &wire.Action{Exec: h.Exec.Command}, nil
	case h.HTTPGet != nil:
		http, err := a.http(h.HTTPGet)
		return &wire.Action{HTTP: http}, err
	case h.Sleep != nil && h.Sleep.Seconds > 0:
		return &wire.Action{Sleep: inSeconds(h.Sleep.Seconds)}, nil
	}
	return nil, nil
}

func (a actions) http(h *corev1.HTTPGetAction) (*wire.HTTPAction, error) {
	port, err := a.port(h.Port)
	if err != nil {
		return nil, err
	}
	w := &wire.HTTPAction{
		Scheme: cmp.Or(strings.ToLower(string(h.Scheme)), defaultProbeHTTPScheme),
		Host:   h.Host, Port: port, Path: cmp.Or(h.Path, "/"),
	}
	if w.HTTP2, err = chosen("httpGet.protocol", h.Protocol, corev1.HTTPProtocolHTTP1, corev1.HTTPProtocolHTTP2); err != nil {
		return nil, err
	}
	for _, header := range h.HTTPHeaders {
		w.Headers = append(w.Headers, wire.HTTPHeader{Name: header.Name, Value: header.Value})
	}
	return w, nil
}

func (a actions) grpc(g *corev1.GRPCAction) (*wire.GRPCAction, error) {
	w := &wire.GRPCAction{Port: uint16(g.Port)}
	if g.Service != nil {
		w.Service = *g.Service
	}
	var err error
	w.TLS, err = chosen("grpc.mode", g.Mode, corev1.GRPCProbeModePlaintext, corev1.GRPCProbeModeTLS)
	return w, err
}

// chosen is whether a field has the other one of its two values; nil is the usual one.
func chosen[T ~string](field string, value *T, usual, other T) (bool, error) {
	switch {
	case value == nil, *value == usual:
		return false, nil
	case *value == other:
		return true, nil
	}
	return false, configError("%s %q is neither %s nor %s", field, *value, usual, other)
}

func (a actions) tcp(t *corev1.TCPSocketAction) (*wire.TCPAction, error) {
	port, err := a.port(t.Port)
	if err != nil {
		return nil, err
	}
	return &wire.TCPAction{Host: t.Host, Port: port}, nil
}

// port is a number, or the name of one of the container's own ports.
func (a actions) port(p intstr.IntOrString) (uint16, error) {
	number := p.IntVal
	if p.Type == intstr.String {
		for _, named := range a.container.Ports {
			if named.Name == p.StrVal {
				number = named.ContainerPort
			}
		}
		if number == 0 {
			return 0, configError("the container has no port named %q", p.StrVal)
		}
	}
	const highest = 1<<16 - 1
	if number < 1 || number > highest {
		return 0, configError("port %d is not between 1 and %d", number, highest)
	}
	return uint16(number), nil
}

func inSeconds[T ~int32 | ~int64](n T) time.Duration { return time.Duration(n) * time.Second }
