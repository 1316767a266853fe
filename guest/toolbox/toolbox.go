package toolbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/wait"
)

const (
	// firstPause and lastPause are those between questions whether there is something to do (open-vm-tools: rpcChannelInt.h,
	// RPCIN_MAX_DELAY in hundredths of a second).
	firstPause, lastPause = 10 * time.Millisecond, 100 * time.Millisecond
	// brokenPause is how long a channel that broke is left alone (open-vm-tools: rpcChannel.c).
	brokenPause = 5 * time.Second
)

// Config says what to report.
type Config struct {
	// Interfaces are those of the VM, with their addresses.
	Interfaces func() ([]Interface, error)
	// Stop is asked to end the VM, which takes its time, and returns at once. It may be called more than once.
	Stop func()
}

// Interface is a network interface of the VM.
type Interface struct {
	MAC       string
	Addresses []netip.Prefix
}

// channel is one way to the hypervisor.
type channel interface {
	open() error
	close()
	send(message []byte) error
	receive() ([]byte, error)
}

// service answers what comes in, and reports by out. One goroutine uses it.
type service struct {
	Config
	in, out channel
}

// run answers until ctx ends. A channel that breaks is opened again.
func (s *service) run(ctx context.Context) {
	var answer []byte
	isOpen := false
	pause := firstPause
	for wait.For(ctx, pause) == nil {
		if !isOpen {
			if err := s.open(); err != nil {
				logging.From(ctx).DebugContext(ctx, "report to the hypervisor failed", "err", err)
				pause = brokenPause
				continue
			}
			isOpen, answer = true, nil
		}
		request, err := s.exchange(answer)
		switch {
		case err != nil:
			s.close()
			isOpen, pause = false, brokenPause
		case len(request) == 0:
			answer, pause = nil, min(2*pause, lastPause)
		default:
			answer, pause = s.answer(ctx, request), firstPause
		}
	}
	if isOpen {
		s.close()
	}
}

func (s *service) open() error {
	if err := s.in.open(); err != nil {
		return err
	}
	if err := s.out.open(); err != nil {
		s.in.close()
		return err
	}
	return nil
}

func (s *service) close() {
	s.in.close()
	s.out.close()
}

// exchange gives the answer to the last request, empty is that we are there, and takes the next one.
func (s *service) exchange(answer []byte) ([]byte, error) {
	if err := s.in.send(answer); err != nil {
		return nil, err
	}
	return s.in.receive()
}

// answer does what is asked for.
func (s *service) answer(ctx context.Context, request []byte) []byte {
	name, args, _ := bytes.Cut(bytes.TrimRight(request, "\x00"), []byte(" "))
	do, known := handlers[string(name)]
	if !known {
		return []byte("Unknown Command")
	}
	result, err := do(s, string(args))
	if err != nil {
		logging.From(ctx).DebugContext(ctx, "hypervisor's request failed", "op", string(name), "err", err)
		return []byte("ERR ")
	}
	return append([]byte("OK "), result...)
}

// handlers are all that the hypervisor can ask for. Commands and files of guest operations are not among them.
var handlers = map[string]func(s *service, args string) (string, error){
	// The answer keeps the tools alive, whatever the hypervisor makes of the addresses.
	"reset":                 func(s *service, _ string) (string, error) { _ = s.reportAddresses(); return "ATR toolbox", nil },
	"ping":                  func(*service, string) (string, error) { return "", nil },
	"Capabilities_Register": func(s *service, _ string) (string, error) { return "", s.reportCapabilities() },
	"Set_Option":            (*service).setOption,
	"OS_Halt":               func(s *service, _ string) (string, error) { return "", s.end(stateHalt) },
	"OS_Reboot":             func(s *service, _ string) (string, error) { return "", s.end(stateReboot) },
	"OS_PowerOn":            func(s *service, _ string) (string, error) { return "", s.reportState(statePowerOn) },
	"OS_Resume":             func(s *service, _ string) (string, error) { return "", s.reportState(stateResume) },
	"OS_Suspend":            func(s *service, _ string) (string, error) { return "", s.reportState(stateSuspend) },
}

// Changes of power as the hypervisor counts them (open-vm-tools: powerops.h, GuestOsState).
const (
	stateHalt = iota + 1
	stateReboot
	statePowerOn
	stateResume
	stateSuspend
)

// reportCapabilities says that there are tools, which nobody but us updates, and that they can change the power.
func (s *service) reportCapabilities() error {
	const unmanaged = 0x7fffffff // open-vm-tools: vm_tools_version.h, TOOLS_VERSION_UNMANAGED
	return errors.Join(
		s.report(fmt.Appendf(nil, "tools.set.version %d", unmanaged)),
		s.report([]byte("tools.capability.statechange")),
	)
}

// setOption follows one option: that addresses are reported.
func (s *service) setOption(args string) (string, error) {
	if args != "broadcastIP 1" {
		return "", nil
	}
	interfaces, err := s.Interfaces()
	if err != nil {
		return "", err
	}
	for _, i := range interfaces {
		if n := slices.IndexFunc(i.Addresses, func(a netip.Prefix) bool { return a.Addr().Is4() }); n >= 0 {
			err = s.report(fmt.Appendf(nil, "info-set guestinfo.ip %s", i.Addresses[n].Addr()))
			break
		}
	}
	return "", errors.Join(err, s.reportAddresses())
}

func (s *service) reportAddresses() error {
	interfaces, err := s.Interfaces()
	if err != nil {
		return err
	}
	return s.report(append([]byte("SetGuestInfo  9 "), nicInfo(interfaces)...)) // INFO_IPADDRESS_V3 of open-vm-tools
}

// end reports that the VM is about to end, and ends it. A VM that reboots ends as well: the host starts it again.
func (s *service) end(state int) error {
	err := s.reportState(state)
	s.Stop()
	return err
}

// reportState says that a change of power is taken.
func (s *service) reportState(state int) error {
	return s.report(fmt.Appendf(nil, "tools.os.statechange.status 1 %d\x00", state))
}

// report sends something, and takes the hypervisor's answer: "1 " and more is yes.
func (s *service) report(message []byte) error {
	if err := s.out.send(message); err != nil {
		return err
	}
	reply, err := s.out.receive()
	if err == nil && !bytes.HasPrefix(reply, []byte("1 ")) {
		err = fmt.Errorf("it was answered %q", reply)
	}
	if err != nil {
		name, _, _ := bytes.Cut(message, []byte(" "))
		return fmt.Errorf("report %s: %w", name, err)
	}
	return nil
}
