package supervisor

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// Query says which snapshot a host has and what it has stored.
type Query struct {
	BootID string
	After  uint64 // the generation that the host knows
	Ack    uint64 // events up to this one are stored
}

// Snapshot returns the state as JSON. It waits for a change while the host knows the current generation of this boot, at
// most for wire.SnapshotWait.
func (s *Supervisor) Snapshot(ctx context.Context, q Query) ([]byte, error) {
	if q.BootID == s.BootID() {
		s.acknowledge(q.Ack)
		if err := s.wait(ctx, q.After); err != nil {
			return nil, err
		}
	}
	return encode(s.current())
}

// wait returns when generation is not the current one, or after wire.SnapshotWait.
func (s *Supervisor) wait(ctx context.Context, generation uint64) error {
	s.mu.Lock()
	current, changed := s.generation, s.changed
	s.mu.Unlock()
	if current != generation {
		return nil
	}
	timer := time.NewTimer(wire.SnapshotWait)
	defer timer.Stop()
	select {
	case <-changed: // and with it the generation
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

func (s *Supervisor) acknowledge(seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events.acknowledge(seq) // the host knows: no change of generation
}

func (s *Supervisor) current() wire.Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	snapshot := wire.Snapshot{
		BootID: s.bootID, Generation: s.generation, Time: time.Now(), Phase: s.phase, StopReason: s.stopReason,
		Addresses: s.addresses, Containers: []wire.ContainerStatus{},
		Events: slices.Clone(s.events.events), EventsDropped: s.events.dropped,
	}
	for _, c := range s.containers {
		status := c.status
		if c.task != nil {
			status.LogBytes = c.task.LogBytes()
		}
		snapshot.Containers = append(snapshot.Containers, status)
	}
	return snapshot
}

// encode returns the JSON of snapshot within wire.MaxSnapshotBytes. Where that is too little, messages are shortened and
// the newest events wait for the next snapshot.
func encode(snapshot wire.Snapshot) ([]byte, error) {
	for limit := wire.MaxMessageBytes; ; limit /= 4 {
		b, err := json.Marshal(snapshot)
		if err != nil || len(b) <= wire.MaxSnapshotBytes || limit == 0 {
			return b, err
		}
		snapshot.Events = snapshot.Events[:len(snapshot.Events)/2]
		for i := range snapshot.Containers {
			c := &snapshot.Containers[i]
			c.Message = Bounded(c.Message, limit)
			c.Current, c.Last = shortened(c.Current, limit), shortened(c.Last, limit)
		}
	}
}

func shortened(t *wire.Terminated, limit int) *wire.Terminated {
	if t == nil {
		return nil
	}
	c := *t
	c.Message = Bounded(c.Message, limit)
	return &c
}
