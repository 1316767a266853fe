package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// Result is what an answer means.
type Result string

// The results, in the kubelet's words.
const (
	Success Result = "success"
	Warning Result = "warning" // as good as Success, and worth an event
	Failure Result = "failure"
	Unknown Result = "unknown" // it could not be asked
)

// ErrTimeout says that a command took too long and was killed.
var ErrTimeout = errors.New("command timed out")

// errNoAction says that a probe has nothing to do.
var errNoAction = errors.New("the probe has no action")

const (
	maxOutput      = 10 << 10 // of a command or a body, as the kubelet has it
	defaultTimeout = time.Second
)

// Execer runs commands in a container.
type Execer interface {
	// Exec runs args to its end, and returns its exit code and the beginning of what it wrote. A command that runs for longer
	// than timeout is killed, which is ErrTimeout; 0 means no bound.
	Exec(ctx context.Context, args []string, timeout time.Duration) (code int32, output []byte, err error)
}

// Target is the container that is asked.
type Target struct {
	Execer
	// Address is the pod's own.
	Address string
}

// Outcome is how a probe ended. With an error it says nothing about the container.
type Outcome struct {
	Result Result
	Output string
	Err    error
}

// Do asks once.
func Do(ctx context.Context, p wire.Probe, t Target) Outcome {
	if p.Timeout <= 0 {
		p.Timeout = defaultTimeout
	}
	switch a := p.Action; {
	case len(a.Exec) > 0:
		return doExec(ctx, a.Exec, p.Timeout, t)
	case a.HTTP != nil:
		return doHTTP(ctx, *a.HTTP, p.Timeout, t)
	case a.TCP != nil:
		return doTCP(ctx, *a.TCP, p.Timeout, t)
	case a.GRPC != nil:
		return doGRPC(ctx, *a.GRPC, p.Timeout, t)
	}
	return Outcome{Result: Unknown, Err: errNoAction}
}

func doExec(ctx context.Context, args []string, timeout time.Duration, t Target) Outcome {
	code, output, err := t.Exec(ctx, args, timeout)
	switch {
	case errors.Is(err, ErrTimeout):
		return failure("%v: %q timed out after %s", ErrTimeout, strings.Join(args, " "), timeout)
	case err != nil:
		return Outcome{Result: Unknown, Err: err}
	case code != 0:
		return failure("%s", output)
	}
	return Outcome{Result: Success, Output: string(output)}
}

func doTCP(ctx context.Context, a wire.TCPAction, timeout time.Duration, t Target) Outcome {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := dialer.DialContext(ctx, "tcp", hostPort(a.Host, a.Port, t))
	if err != nil {
		return failure("%v", err)
	}
	_ = conn.Close() // it was open, and that is all
	return Outcome{Result: Success}
}

func hostPort(host string, port uint16, t Target) string {
	if host == "" {
		host = t.Address
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

func failure(format string, args ...any) Outcome {
	return Outcome{Result: Failure, Output: fmt.Sprintf(format, args...)}
}

// dialer makes connections that are in TIME-WAIT for a second and not for a minute: there are many of them.
var dialer = &net.Dialer{
	Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) {
			// Without it all works as well.
			_ = syscall.SetsockoptLinger(int(fd), syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1, Linger: 1})
		})
	},
}
