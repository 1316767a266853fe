package supervisor

import (
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/virtual-kubelet/vic/guest/wire"
)

var (
	validName       = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	restartPolicies = []string{restartAlways, restartOnFailure, restartNever}
)

const (
	restartAlways    = "Always"
	restartOnFailure = "OnFailure"
	restartNever     = "Never"
)

// Supervisor runs the containers of one pod. It is safe for concurrent use.
type Supervisor struct {
	runtime Runtime
	bootID  string

	mu         sync.Mutex // guards all below, and the containers' fields that say so
	pod        wire.Pod
	addresses  []netip.Addr
	phase      wire.Phase
	containers []*container // in the order of the pod's spec
	events     ring
	generation uint64
	changed    chan struct{} // closed and replaced at each change of generation
	stopReason string
	stopping   chan struct{} // closed by the first Stop
	deadline   time.Time     // for what runs, once stopping
	hastened   chan struct{} // closed and replaced when deadline changes
}

// New returns a Supervisor without a pod.
func New(bootID string, r Runtime) *Supervisor {
	return &Supervisor{
		runtime: r, bootID: bootID, phase: wire.PhaseWaiting, generation: 1,
		changed: make(chan struct{}), stopping: make(chan struct{}), hastened: make(chan struct{}),
	}
}

// Check tells whether pod can be configured.
func Check(pod wire.Pod) error {
	if len(pod.Containers) > wire.MaxContainers {
		return fmt.Errorf("%d containers are %w", len(pod.Containers), ErrInvalid)
	}
	if !slices.Contains(restartPolicies, pod.RestartPolicy) {
		return fmt.Errorf("restart policy %q is %w", pod.RestartPolicy, ErrInvalid)
	}
	seen := map[string]bool{}
	for _, c := range pod.Containers {
		if !validName.MatchString(c.Name) || seen[c.Name] {
			return fmt.Errorf("container name %q is %w", c.Name, ErrInvalid)
		}
		seen[c.Name] = true
	}
	return nil
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
	s.changedLocked()
	return nil
}

// Run runs c now, and again as the pod's restart policy says. The same c again has no effect.
func (s *Supervisor) Run(ctx context.Context, c wire.Container) error {
	if len(c.Args) == 0 || len(c.Disks) == 0 {
		return fmt.Errorf("container %q without arguments or disks is %w", c.Name, ErrInvalid)
	}
	if _, err := parseSignal(c.StopSignal); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.containers, func(o *container) bool { return o.status.Name == c.Name })
	if i < 0 {
		return fmt.Errorf("%w: %q", ErrNotFound, c.Name)
	}
	o := s.containers[i]
	if o.status.Known {
		if !reflect.DeepEqual(o.spec, c) {
			return fmt.Errorf("run container %q: %w", c.Name, ErrConflict)
		}
		return nil
	}
	o.status.Known, o.spec = true, c
	if !o.status.Final {
		// Ends when the container is final.
		go o.run(context.WithoutCancel(ctx))
	}
	s.changedLocked()
	return nil
}

// Stop ends all containers within grace. A later call can only shorten that.
func (s *Supervisor) Stop(stop wire.Stop) {
	s.mu.Lock()
	defer s.mu.Unlock()
	deadline := time.Now().Add(max(0, stop.Grace))
	if s.isStoppingLocked() {
		if deadline.Before(s.deadline) {
			s.deadline = deadline
			close(s.hastened)
			s.hastened = make(chan struct{})
		}
		return
	}
	if s.phase != wire.PhaseDone {
		s.phase = wire.PhaseStopping
	}
	s.stopReason, s.deadline = Bounded(stop.Reason, wire.MaxMessageBytes), deadline
	for _, c := range s.containers {
		if !c.status.Known {
			c.status.Final = true
		}
	}
	close(s.stopping)
	s.changedLocked()
}

func (s *Supervisor) isStoppingLocked() bool {
	select {
	case <-s.stopping:
		return true
	default:
		return false
	}
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

// changedLocked makes a new generation of what has changed.
func (s *Supervisor) changedLocked() {
	final := !slices.ContainsFunc(s.containers, func(c *container) bool { return !c.status.Final })
	if final && (s.phase == wire.PhaseConfigured && len(s.containers) > 0 || s.phase == wire.PhaseStopping) {
		s.phase = wire.PhaseDone
	}
	s.generation++
	close(s.changed)
	s.changed = make(chan struct{})
}

// Event adds e to what a user sees beside the pod.
func (s *Supervisor) Event(e wire.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events.add(e)
	s.changedLocked()
}
