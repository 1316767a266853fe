package supervisor

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// The kubelet's event reasons.
const (
	eventCreated = "Created"
	eventStarted = "Started"
	eventFailed  = "Failed"
	eventBackOff = "BackOff"
	eventKilling = "Killing"

	eventUnhealthy       = "Unhealthy"
	eventProbeWarning    = "ProbeWarning"
	eventFailedPostStart = "FailedPostStartHook"
	eventFailedPreStop   = "FailedPreStopHook"
	eventHookFallback    = "LifecycleHTTPFallback"
)

// ring keeps the events that are not acknowledged, up to a bound.
type ring struct {
	events  []wire.Event
	last    uint64 // sequence number
	dropped uint64
}

func (r *ring) add(e wire.Event) {
	r.last++
	e.Seq, e.Time = r.last, time.Now()
	e.Message = Bounded(e.Message, wire.MaxMessageBytes)
	if len(r.events) == wire.MaxEvents {
		r.events = r.events[1:]
		r.dropped++
	}
	r.events = append(r.events, e)
}

// acknowledge forgets the events up to seq, and tells whether there were any.
func (r *ring) acknowledge(seq uint64) bool {
	n := len(r.events)
	r.events = slices.DeleteFunc(slices.Clone(r.events), func(e wire.Event) bool { return e.Seq <= seq })
	return len(r.events) != n
}

// Bounded returns s as valid UTF-8 of at most limit bytes.
func Bounded(s string, limit int) string {
	if s = strings.ToValidUTF8(s, "\uFFFD"); len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
