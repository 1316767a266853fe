package hostile

import (
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// attemptsEach is how many attempts of a container a mode has for itself: a log that was whole is copied no more.
const attemptsEach = 1000

// snapshot answers at once, but for the first, and lets none be like the one before.
func (g *Guest) snapshot(w http.ResponseWriter, r *http.Request, mode Mode, until <-chan struct{}) {
	n := g.did.Add(1)
	if mode == Giant {
		g.endless(w, until, `{"bootID":"`+g.bootID()+`","phase":"configured","stopReason":"`, "giant")
		return
	}
	if mode == Many {
		g.many(w, wire.MaxSnapshotBytes, `{"bootID":"`+g.bootID()+`","phase":"configured","containers":[`, "{}")
		return
	}
	if (mode == Honest || mode == Refusals) && r.URL.Query().Has("after") {
		select {
		case <-time.After(time.Second):
			w.WriteHeader(http.StatusNoContent)
		case <-until:
		}
		return
	}
	s := g.running(n)
	switch mode {
	case Impossible:
		s = g.impossible(n)
	case Events:
		s.Events, s.EventsDropped = flood(n), math.MaxUint64
	case Attempts:
		for i := range s.Containers {
			c := &s.Containers[i]
			c.RestartCount += int32(n)
			c.Last = &wire.Terminated{Attempt: c.RestartCount - 1, ExitCode: 1, Reason: "Error", LogBytes: 1 << 40}
		}
	case Restless:
		for i := range s.Containers {
			s.Containers[i].Started, s.Containers[i].Ready = true, n%2 == 0
		}
	case Texts:
		text := strings.Repeat("\x01<", wire.MaxMessageBytes/2)
		s.StopReason = text
		for i := range s.Containers {
			c := &s.Containers[i]
			c.State, c.ID, c.Message = wire.ContainerTerminated, "", text
			c.Current = &wire.Terminated{ExitCode: 1, Reason: text, Message: text, Attempt: c.RestartCount}
			c.Last = &wire.Terminated{ExitCode: 1, Reason: text, Message: text}
		}
	default:
	}
	g.send(w, s)
}

// many answers with an object of that size whose last field is a list of as many items as fit.
func (g *Guest) many(w io.Writer, size int, begin, item string) {
	b := append(make([]byte, 0, size), begin...)
	for len(b)+2*len(item)+len(",]}") <= size {
		b = append(append(b, item...), ',')
	}
	_, _ = w.Write(append(append(b, item...), "]}"...)) // the host may have left
	g.did.Add(1)
}

// running is a snapshot of a pod whose containers run.
func (g *Guest) running(n int64) wire.Snapshot {
	g.mu.Lock()
	names, attempt := slices.Clone(g.names), int32(g.modes)*attemptsEach
	g.mu.Unlock()
	s := wire.Snapshot{BootID: g.bootID(), Generation: uint64(n), Time: time.Now(), Phase: wire.PhaseConfigured}
	for _, name := range names {
		s.Containers = append(s.Containers, wire.ContainerStatus{
			Name: name, State: wire.ContainerRunning, Known: true, ID: strings.Repeat("a", 64), StartedAt: time.Now(),
			RestartCount: attempt,
		})
	}
	return s
}

// impossible is one snapshot after the other that no guest of ours sends.
func (g *Guest) impossible(n int64) wire.Snapshot {
	s := g.running(n)
	end := wire.Terminated{ExitCode: math.MinInt32, Signal: math.MaxInt32, Attempt: math.MaxInt32, LogBytes: math.MinInt64}
	switch n % 8 {
	case 0:
		s.Phase = "dancing"
	case 1:
		s.BootID = "\x1b[2J"
	case 2:
		s.Generation, s.BootID = 0, "another"
	case 3:
		for i := range s.Containers {
			s.Containers[i].State = wire.ContainerTerminated // without an end
		}
	case 4:
		for i := range s.Containers {
			s.Containers[i].State, s.Containers[i].Current = wire.ContainerTerminated, &end
		}
	case 5:
		for range 2 * wire.MaxContainers {
			s.Containers = append(s.Containers, wire.ContainerStatus{Name: "../../etc", State: wire.ContainerRunning})
		}
	case 6:
		for i := range s.Containers {
			c := &s.Containers[i]
			c.RestartCount, c.Backoff, c.LogBytes, c.Message = math.MinInt32, math.MaxInt64, math.MinInt64, strings.Repeat("\xff", 1<<16)
			c.NextStart = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
		}
	default:
		s.Generation, s.Time = math.MaxUint64, time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return s
}

// flood is as many events as a snapshot may have, as long as it may be.
func flood(n int64) []wire.Event {
	events := make([]wire.Event, 0, wire.MaxEvents)
	for i := range wire.MaxEvents {
		events = append(events, wire.Event{
			Seq: uint64(n)*wire.MaxEvents + uint64(i), Time: time.Now(), Warning: true,
			Reason: "Harm", Message: strings.Repeat("h", wire.MaxMessageBytes/2),
		})
	}
	return events
}
