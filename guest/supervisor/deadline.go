package supervisor

import (
	"time"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// SetDeadline takes another deadline of the pod; zero means none.
func (s *Supervisor) SetDeadline(deadline time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.pod.Deadline.Equal(deadline) {
		s.pod.Deadline = deadline
		s.awaitDeadlineLocked()
	}
}

// ClockSet is called when the VM's clock was stepped: the pod's deadline is a time of day.
func (s *Supervisor) ClockSet() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.awaitDeadlineLocked()
}

// awaitDeadlineLocked ends the pod at its deadline, unless it ends before.
func (s *Supervisor) awaitDeadlineLocked() {
	if s.overdue != nil {
		s.overdue.Stop()
		s.overdue = nil
	}
	if !s.pod.Deadline.IsZero() && !s.isEndingLocked() {
		s.overdue = time.AfterFunc(time.Until(s.pod.Deadline), s.expire)
	}
}

// expire ends the pod when its deadline has passed, and waits again where that is another one meanwhile.
func (s *Supervisor) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.isEndingLocked():
	case time.Now().Before(s.pod.Deadline):
		s.awaitDeadlineLocked()
	default:
		s.stopLocked(wire.Stop{Grace: s.pod.Grace, Reason: wire.StopReasonDeadline})
	}
}
