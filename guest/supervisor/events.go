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

// ring keeps the events that are not acknowledged, up to a bound. One that comes again takes the place of the former, as
// the newest: what repeats itself while no host listens pushes out nothing else.
type ring struct {
	events  []wire.Event
	topics  []string // of the events, in their order
	last    uint64   // sequence number
	dropped uint64
}

// add puts e into the ring. Events of one topic, container and reason are one event; an empty topic is the message.
func (r *ring) add(e wire.Event, topic string) {
	r.last++
	e.Seq, e.Time = r.last, time.Now()
	e.Message = Bounded(e.Message, wire.MaxMessageBytes)
	if topic == "" {
		topic = e.Message
	}
	for i, old := range r.events {
		if r.topics[i] == topic && old.Container == e.Container && old.Reason == e.Reason && old.Warning == e.Warning {
			r.remove(i)
			break
		}
	}
	if len(r.events) == wire.MaxEvents {
		r.remove(0)
		r.dropped++
	}
	r.events, r.topics = append(r.events, e), append(r.topics, topic)
}

func (r *ring) remove(i int) {
	r.events, r.topics = slices.Delete(r.events, i, i+1), slices.Delete(r.topics, i, i+1)
}

// acknowledge forgets the events up to seq.
func (r *ring) acknowledge(seq uint64) {
	for len(r.events) > 0 && r.events[0].Seq <= seq {
		r.remove(0)
	}
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
