package supervisor

import (
	"slices"
	"time"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// precedes reports whether others wait for a container of that role to be initialized.
func precedes(role wire.Role) bool { return role == wire.RoleInit || role == wire.RoleSidecar }

// mayStartLocked reports whether c's turn to start has come: init containers and sidecars one after the other, then all the
// others. Each of those waits for the postStart hooks of all that are there before it, as with the kubelet.
func (s *Supervisor) mayStartLocked(c *container) bool {
	if c.role == wire.RoleEphemeral {
		return s.targetRunsLocked(c.spec.Target)
	}
	before := true
	for _, o := range s.containers {
		switch {
		case o == c:
			if precedes(c.role) {
				return true
			}
			before = false
		case precedes(o.role):
			if !o.initialized {
				return false
			}
		case before && o.role == wire.RoleApp && o.status.Known && o.spec.PostStart != nil && !o.begun:
			return false
		}
	}
	return true
}

func (s *Supervisor) targetRunsLocked(target string) bool {
	if target == "" {
		return true
	}
	return slices.ContainsFunc(s.containers, func(o *container) bool { return o.status.Name == target && o.task != nil })
}

// mayEndLocked reports whether c's turn to end has come: sidecars go last and in reverse order.
func (s *Supervisor) mayEndLocked(c *container) bool {
	if c.role != wire.RoleSidecar {
		return true
	}
	after := false
	for _, o := range s.containers {
		switch {
		case o == c:
			after = true
		case o.role == wire.RoleApp || after && o.role == wire.RoleSidecar:
			if o.active {
				return false
			}
		}
	}
	return true
}

// reviewLocked ends the pod when an init container has failed for good, or no app container will run again.
func (s *Supervisor) reviewLocked() {
	if s.phase == wire.PhaseConfigured && !s.isEndingLocked() && (s.failedLocked() || s.finishedLocked()) {
		s.endLocked(time.Now().Add(s.pod.Grace))
	}
	final := !slices.ContainsFunc(s.containers, func(c *container) bool { return !c.status.Final })
	if final && (s.phase == wire.PhaseConfigured && len(s.containers) > 0 || s.phase == wire.PhaseStopping) {
		s.phase = wire.PhaseDone
	}
}

func (s *Supervisor) failedLocked() bool {
	return slices.ContainsFunc(s.containers, func(c *container) bool {
		return c.role == wire.RoleInit && c.status.Final && !c.initialized
	})
}

func (s *Supervisor) finishedLocked() bool {
	apps := 0
	for _, c := range s.containers {
		if c.role != wire.RoleApp {
			continue
		}
		if !c.status.Final {
			return false
		}
		apps++
	}
	return apps > 0
}

// endLocked makes every container end by deadline. None starts from now on.
func (s *Supervisor) endLocked(deadline time.Time) {
	s.deadline = deadline
	for _, c := range s.containers {
		if !c.status.Known {
			c.status.Final = true
		}
	}
	close(s.ending)
}

func (s *Supervisor) isEndingLocked() bool {
	select {
	case <-s.ending:
		return true
	default:
		return false
	}
}

func (s *Supervisor) isEnding() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.isEndingLocked()
}

// endsBy returns until when a container may take that has a deadline of its own, or none: the pod's holds where it is
// sooner. changed is closed when that may be another one.
func (s *Supervisor) endsBy(own time.Time) (deadline time.Time, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isEndingLocked() && (own.IsZero() || s.deadline.Before(own)) {
		return s.deadline, s.changed
	}
	return own, s.changed
}
