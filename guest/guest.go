package guest

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"github.com/virtual-kubelet/vic/guest/boot"
	"github.com/virtual-kubelet/vic/guest/channel"
	"github.com/virtual-kubelet/vic/guest/probe"
	"github.com/virtual-kubelet/vic/guest/process"
	"github.com/virtual-kubelet/vic/guest/server"
	"github.com/virtual-kubelet/vic/guest/supervisor"
	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/wait"
)

const (
	portName = "vic.guest.0"
	// memoryLimit makes the garbage collector work harder beyond it: the VM's memory is the pod's.
	memoryLimit = 32 << 20
	// blobTimeout is how long the devices may take that a boot blob is found by.
	blobTimeout = 2 * time.Minute
)

// Run makes this process the guest of a pod VM. It must be PID 1 of a system that is nothing but an initrd, and returns
// only when the VM can't go on; the caller powers it off.
func Run(ctx context.Context, version string) error {
	if err := boot.System(); err != nil {
		return fmt.Errorf("boot: %w", err)
	}
	if boot.IsProbe() {
		_, _ = os.Stderr.WriteString("vic-guest: probe ok\n") // a failure has nobody left to report it to
		return boot.PowerOff()
	}
	if err := boot.LoadModules(); err != nil {
		return fmt.Errorf("boot: %w", err)
	}
	if err := boot.RaiseLimits(); err != nil {
		return fmt.Errorf("boot: %w", err)
	}
	debug.SetMemoryLimit(memoryLimit)
	ctx = logging.Into(ctx, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	s, err := newSystem(version)
	if err != nil {
		return err
	}
	handler := server.New(server.Config{System: s, Containers: s.supervisor, Streams: s, Usage: s})
	ready := func() { logging.From(ctx).InfoContext(ctx, "guest ready", "version", version, "took", uptime()) }
	if boot.Dials() {
		return s.dial(ctx, handler, ready)
	}
	return listen(ctx, handler, ready)
}

// listen serves hosts that connect to the port that the hypervisor gave the VM.
func listen(ctx context.Context, handler http.Handler, ready func()) error {
	port, err := channel.OpenPort(ctx, "/sys", "/dev", portName)
	if err != nil {
		return err
	}
	ready()
	for {
		// A port fails when its host leaves in the middle of a preamble's echo, and works again with the next host.
		err := channel.Serve(ctx, port, handler)
		logging.From(ctx).WarnContext(ctx, "port failed", "err", err)
		if err := wait.For(ctx, time.Second); err != nil {
			return err
		}
	}
}

// dial serves the host that the boot blob names, on connections that the guest opens.
func (s *system) dial(ctx context.Context, handler http.Handler, ready func()) error {
	finding, cancel := context.WithTimeout(ctx, blobTimeout)
	defer cancel()
	blob, err := channel.SystemBlob().Find(finding)
	if err != nil {
		return err
	}
	// Nobody configures the pod before there is a channel.
	if err := s.joinNetwork(ctx, blob.Interfaces); err != nil {
		return err
	}
	// Ends with the VM.
	go s.serveHypervisor(ctx)
	d, err := channel.NewDialer(blob)
	if err != nil {
		return err
	}
	ready()
	return d.Run(ctx, func(conn net.Conn) error { return channel.Serve(ctx, conn, handler) })
}

func newSystem(version string) (*system, error) {
	reaper, err := process.NewReaper()
	if err != nil {
		return nil, err
	}
	s := &system{version: version, reaper: reaper}
	s.supervisor = supervisor.New(supervisor.Config{Runtime: s, Prober: actions{}, Hooks: actions{}})
	return s, nil
}

// uptime is the time since the kernel started.
func uptime() time.Duration {
	b, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return 0
	}
	var seconds float64
	if _, err := fmt.Sscan(string(b), &seconds); err != nil {
		return 0
	}
	return time.Duration(seconds * float64(time.Second))
}

// actions does what probes and hooks ask for. It implements what package supervisor needs.
type actions struct{}

func (actions) Probe(ctx context.Context, p wire.Probe, t probe.Target) probe.Outcome {
	return probe.Do(ctx, p, t)
}

func (actions) Hook(ctx context.Context, a wire.Action, t probe.Target) error {
	return probe.Hook(ctx, a, t)
}
