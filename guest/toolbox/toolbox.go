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
)

const (
	// firstPause and lastPause are those between questions whether there is something to do (open-vm-tools: rpcChannelInt.h,
	// RPCIN_MAX_DELAY in hundredths of a second).
	firstPause, lastPause = 10 * time.Millisecond, 100 * time.Millisecond
	// brokenPause is how long a channel that broke is left alone (open-vm-tools: rpcChannel.c).
	brokenPause = 5 * time.Second
)

// Config says what to tell.
type Config struct {
	// Interfaces are those of the machine, with their addresses.
	Interfaces func() ([]Interface, error)
	// Stop is asked to end the machine, which takes its time, and returns at once. It may be called more than once.
	Stop func()
}

// Interface is a network interface of the machine.
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

// service answers what comes in, and tells things by out. One goroutine uses it.
type service struct {
	Config
	in, out channel
}

// run answers until ctx ends. A channel that breaks is opened again.
func (s *service) run(ctx context.Context) {
	var answer []byte
	isOpen := false
	pause := firstPause
	for wait(ctx, pause) {
		if !isOpen {
			if err := s.open(); err != nil {
				logging.From(ctx).DebugContext(ctx, "hypervisor not told", "err", err)
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
	"reset":                 func(s *service, _ string) (string, error) { _ = s.tellAddresses(); return "ATR toolbox", nil },
	"ping":                  func(*service, string) (string, error) { return "", nil },
	"Capabilities_Register": func(s *service, _ string) (string, error) { return "", s.tellCapabilities() },
	"Set_Option":            (*service).setOption,
	"OS_Halt":               func(s *service, _ string) (string, error) { return "", s.end(stateHalt) },
	"OS_Reboot":             func(s *service, _ string) (string, error) { return "", s.end(stateReboot) },
	"OS_PowerOn":            func(s *service, _ string) (string, error) { return "", s.tellState(statePowerOn) },
	"OS_Resume":             func(s *service, _ string) (string, error) { return "", s.tellState(stateResume) },
	"OS_Suspend":            func(s *service, _ string) (string, error) { return "", s.tellState(stateSuspend) },
}

// Changes of power as the hypervisor counts them (open-vm-tools: powerops.h, GuestOsState).
const (
	stateHalt = iota + 1
	stateReboot
	statePowerOn
	stateResume
	stateSuspend
)

// tellCapabilities says that there are tools, which nobody but us updates, and that they can change the power.
func (s *service) tellCapabilities() error {
	const unmanaged = 0x7fffffff // open-vm-tools: vm_tools_version.h, TOOLS_VERSION_UNMANAGED
	return errors.Join(
		s.tell(fmt.Appendf(nil, "tools.set.version %d", unmanaged)),
		s.tell([]byte("tools.capability.statechange")),
	)
}

// setOption follows one option, that addresses be told.
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
			err = s.tell(fmt.Appendf(nil, "info-set guestinfo.ip %s", i.Addresses[n].Addr()))
			break
		}
	}
	return "", errors.Join(err, s.tellAddresses())
}

func (s *service) tellAddresses() error {
	interfaces, err := s.Interfaces()
	if err != nil {
		return err
	}
	return s.tell(append([]byte("SetGuestInfo  9 "), nicInfo(interfaces)...)) // INFO_IPADDRESS_V3 of open-vm-tools
}

// end tells that the machine is about to end, and ends it. One that reboots ends as well: the host starts it again.
func (s *service) end(state int) error {
	err := s.tellState(state)
	s.Stop()
	return err
}

// tellState tells that a change of power is taken.
func (s *service) tellState(state int) error {
	return s.tell(fmt.Appendf(nil, "tools.os.statechange.status 1 %d\x00", state))
}

// tell sends something, and takes what the hypervisor says to it: "1 " and more is yes.
func (s *service) tell(message []byte) error {
	if err := s.out.send(message); err != nil {
		return err
	}
	reply, err := s.out.receive()
	if err == nil && !bytes.HasPrefix(reply, []byte("1 ")) {
		err = fmt.Errorf("it was answered %q", reply)
	}
	if err != nil {
		name, _, _ := bytes.Cut(message, []byte(" "))
		return fmt.Errorf("tell %s: %w", name, err)
	}
	return nil
}

// wait tells whether that much time has passed before ctx ended.
func wait(ctx context.Context, pause time.Duration) bool {
	select {
	case <-time.After(pause):
		return true
	case <-ctx.Done():
		return false
	}
}
