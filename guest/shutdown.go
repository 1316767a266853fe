package guest

import (
	"context"
	"time"

	"github.com/virtual-kubelet/vic/guest/toolbox"
	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/logging"
)

// drainMargin is what a pod may take beyond its grace period to end.
const drainMargin = 5 * time.Second

// serveHypervisor does what VMware's users ask of the VM; on other hypervisors, nothing.
func (s *system) serveHypervisor(ctx context.Context) {
	err := toolbox.Run(ctx, toolbox.Config{
		Interfaces: toolbox.SystemInterfaces,
		Stop: func() {
			// Ends with the VM.
			go func() {
				s.drain(ctx)
				s.PowerOff(ctx)
			}()
		},
	})
	if err != nil {
		logging.From(ctx).WarnContext(ctx, "hypervisor shows no addresses, and can't shut the VM down", "err", err)
	}
}

// drain ends the pod's containers as the end of a node does: within their grace period, and to run again after the next boot.
func (s *system) drain(ctx context.Context) {
	s.mu.Lock()
	var grace time.Duration
	if s.pod != nil {
		grace = s.pod.Grace
	}
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, grace+drainMargin)
	defer cancel()
	s.supervisor.Stop(wire.Stop{Grace: grace, Reason: wire.StopReasonNodeShutdown})
	if err := s.supervisor.Done(ctx); err != nil {
		logging.From(ctx).WarnContext(ctx, "pod did not end in time", "err", err)
	}
}
