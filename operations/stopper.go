package operations

import (
	"context"
	"errors"
	"time"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/operations/worker"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
)

// StopperHost is what PodStopper needs of the host.
type StopperHost interface {
	Stop(ctx context.Context, uid string, stop wire.Stop) error
	PowerOff(ctx context.Context, uid string) error
}

// PodStopper ends pods. It is safe for concurrent use.
type PodStopper struct{ host StopperHost }

// NewPodStopper returns a PodStopper.
func NewPodStopper(host StopperHost) *PodStopper { return &PodStopper{host: host} }

// Stop does what is next to end vm: ask the guest, power off. It waits for nothing but the host; when there is something
// to wait for it says for how long at most, and the caller calls it again then or when vm changes. 0 means off.
func (s *PodStopper) Stop(ctx context.Context, vm podvm.VM, req worker.StopRequest, p *worker.Stopping) (time.Duration, error) {
	if vm.State != portlayer.StateRunning {
		return 0, nil
	}
	now := time.Now()
	switch {
	case req.Idle, idle(vm):
		return 0, s.powerOff(ctx, vm)
	case vm.Current && vm.Guest.Phase == wire.PhaseDone:
		return s.afterLogs(ctx, vm, req, p)
	case !p.Until.IsZero() && now.After(p.Until.Add(stopSlack)):
		logging.From(ctx).WarnContext(ctx, "grace period ended without the containers")
		return 0, s.powerOff(ctx, vm)
	}
	if err := s.ask(ctx, vm, req, p); err != nil {
		logging.From(ctx).WarnContext(ctx, "guest could not be asked to stop", "err", err)
		return min(retryFirst, max(time.Millisecond, time.Until(p.Until.Add(stopSlack)))), nil
	}
	return time.Until(p.Until.Add(stopSlack)) + time.Millisecond, nil
}

// ask sends the request, unless the guest has one that ends as soon.
func (s *PodStopper) ask(ctx context.Context, vm podvm.VM, req worker.StopRequest, p *worker.Stopping) error {
	until := time.Now().Add(req.Grace)
	shorter := p.Until.IsZero() || until.Before(p.Until)
	if p.Asked && !shorter {
		return nil
	}
	if shorter {
		p.Until, p.Asked = until, false
	}
	ctx, cancel := context.WithTimeout(ctx, stopCallTimeout)
	defer cancel()
	err := s.host.Stop(ctx, vm.ID(), wire.Stop{Grace: max(0, time.Until(p.Until)), Reason: req.Reason})
	p.Asked = err == nil
	return err
}

// afterLogs powers off once the last log line is here.
func (s *PodStopper) afterLogs(ctx context.Context, vm podvm.VM, req worker.StopRequest, p *worker.Stopping) (time.Duration, error) {
	if p.Done.IsZero() {
		p.Done = time.Now()
	}
	if vm.LogsComplete {
		return 0, s.powerOff(ctx, vm)
	}
	if req.LogsWithin == 0 {
		return lookAgain, nil
	}
	if left := time.Until(p.Done.Add(req.LogsWithin)); left > 0 {
		return left, nil
	}
	logging.From(ctx).WarnContext(ctx, "end of logs was lost")
	return 0, s.powerOff(ctx, vm)
}

func (s *PodStopper) powerOff(ctx context.Context, vm podvm.VM) error {
	ctx, cancel := context.WithTimeout(ctx, powerOffTimeout)
	defer cancel()
	if err := s.host.PowerOff(ctx, vm.ID()); err != nil && !errors.Is(err, portlayer.ErrNotFound) {
		return err
	}
	return nil
}

// idle is true when no container was ever given to the guest in this boot. A guest of which that is not known, since its
// snapshot was lost and it has not greeted yet, is asked like any other.
func idle(vm podvm.VM) bool {
	return vm.Booting || vm.Greeted && (!vm.Current || vm.Guest.Phase == wire.PhaseWaiting)
}
