package supervisor

import (
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// Config is what a Supervisor works with.
type Config struct {
	Runtime Runtime
	Prober  Prober
	Hooks   Hooks
}

// Supervisor runs the containers of one pod. It is safe for concurrent use.
type Supervisor struct {
	Config

	mu         sync.Mutex // guards all below, and the containers' fields that say so
	bootID     string     // empty until a host names the boot
	pod        wire.Pod
	addresses  []netip.Addr
	phase      wire.Phase
	containers []*container // in the order of the pod's spec, ephemeral ones as they came
	events     ring
	generation uint64
	changed    chan struct{} // closed and replaced at each change
	stopReason string
	ending     chan struct{} // closed when the pod begins to end
	deadline   time.Time     // for what runs, once ending
	overdue    *time.Timer   // ends the pod at its own deadline; nil where it has none
}

// New returns a Supervisor without a pod.
func New(c Config) *Supervisor {
	return &Supervisor{
		Config: c, phase: wire.PhaseWaiting, generation: 1,
		changed: make(chan struct{}), ending: make(chan struct{}),
	}
}

// NameBoot names this boot while there is no pod, and returns the name that holds.
func (s *Supervisor) NameBoot(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase == wire.PhaseWaiting && s.bootID != id {
		s.bootID = id
		s.changedLocked()
	}
	return s.bootID
}

// BootID is the name of this boot; empty until a host names it.
func (s *Supervisor) BootID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bootID
}

// Configure names the pod's containers; none runs yet. addresses are those that the pod holds.
func (s *Supervisor) Configure(pod wire.Pod, addresses []netip.Addr) error {
	if err := Check(pod); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase != wire.PhaseWaiting {
		return fmt.Errorf("configure pod: %w", ErrConflict)
	}
	s.pod, s.addresses, s.phase = pod, addresses, wire.PhaseConfigured
	for _, seed := range pod.Containers {
		s.containers = append(s.containers, newContainer(s, seed))
	}
	s.awaitDeadlineLocked()
	s.changedLocked()
	return nil
}

// Run runs c when its turn has come, and again as its restart policy says. The same c again has no effect.
func (s *Supervisor) Run(ctx context.Context, c wire.Container) error {
	if err := checkContainer(c); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.findLocked(c)
	if err != nil {
		return err
	}
	switch {
	case o.status.Known && reflect.DeepEqual(o.spec, c):
		return nil
	case o.status.Known && o.spec.Revision == c.Revision:
		return fmt.Errorf("run container %q: %w", c.Name, ErrConflict)
	case o.status.Known:
		o.replaceLocked(c)
	default:
		o.status.Known, o.spec, o.status.Revision = true, c, c.Revision
		if !o.status.Final {
			// Ends when the container is final.
			go o.run(context.WithoutCancel(ctx))
		}
	}
	s.changedLocked()
	return nil
}

// findLocked returns the container that c describes. An ephemeral one that is new is added.
func (s *Supervisor) findLocked(c wire.Container) (*container, error) {
	i := slices.IndexFunc(s.containers, func(o *container) bool { return o.status.Name == c.Name })
	switch {
	case i >= 0:
		return s.containers[i], nil
	case !c.Ephemeral || s.phase == wire.PhaseWaiting:
		return nil, fmt.Errorf("%w: %q", ErrNotFound, c.Name)
	case len(s.containers) == wire.MaxContainers:
		return nil, fmt.Errorf("container %q, which is one too many, is %w", c.Name, ErrInvalid)
	}
	o := newContainer(s, wire.Seed{Name: c.Name, Role: wire.RoleEphemeral, Final: s.isEndingLocked()})
	s.containers = append(s.containers, o)
	return o, nil
}

// Stop ends all containers within grace. A later call can only shorten that.
func (s *Supervisor) Stop(stop wire.Stop) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopLocked(stop)
}

func (s *Supervisor) stopLocked(stop wire.Stop) {
	deadline := time.Now().Add(max(0, stop.Grace))
	if s.isEndingLocked() {
		if deadline.Before(s.deadline) {
			s.deadline = deadline
		}
	} else {
		s.stopReason = Bounded(stop.Reason, wire.MaxMessageBytes) // of a pod that ends by itself, the host is not the reason
		s.endLocked(deadline)
	}
	if s.phase != wire.PhaseDone {
		s.phase = wire.PhaseStopping
	}
	s.changedLocked()
}

// Done is closed when nothing runs and nothing will.
func (s *Supervisor) Done(ctx context.Context) error {
	for {
		s.mu.Lock()
		phase, changed := s.phase, s.changed
		s.mu.Unlock()
		if phase == wire.PhaseDone {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// changedLocked makes a new generation of what has changed, and draws the conclusions for the pod.
func (s *Supervisor) changedLocked() {
	s.reviewLocked()
	s.generation++
	close(s.changed)
	s.changed = make(chan struct{})
}

// Event adds e to what a user sees beside the pod.
func (s *Supervisor) Event(e wire.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events.add(e, "")
	s.changedLocked()
}
