package standalone

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/node/statedir"
)

const (
	// startTimeout bounds the wait for the ready line: 2 s on an idle machine, minutes on one that is starved.
	startTimeout = 3 * time.Minute
	// stopTimeout is what etcd and the API server get to stop cleanly.
	stopTimeout = 30 * time.Second
	// stopInterval is how often a control plane is asked to stop that has not said yet which process it is.
	stopInterval = 100 * time.Millisecond
	// stderrTail is how much of the control plane's complaint is shown.
	stderrTail = 4096
)

// ControlPlaneConfig says how to run the control plane.
type ControlPlaneConfig struct {
	// Binary is the path of vic-controlplane.
	Binary string
	Dir    *statedir.Dir
	// APIPort on loopback; 0 keeps the port of the last run, or takes a free one.
	APIPort int
	// PodListen is the address and port that pods reach the API server at; empty for none.
	PodListen string
	NodeName  string
}

func (c ControlPlaneConfig) args() []string {
	args := []string{
		"--dir", c.Dir.ControlPlane(), "--kubeconfig", c.Dir.Kubeconfig(),
		"--api-port", strconv.Itoa(c.APIPort), "--node-name", c.NodeName,
	}
	if c.PodListen != "" {
		args = append(args, "--pod-listen", c.PodListen)
	}
	return args
}

// ControlPlane is a running control plane.
type ControlPlane struct {
	// URL is the API server's on loopback.
	URL string

	cmd    *exec.Cmd
	done   chan struct{} // closed when the process has ended
	err    error         // valid once done is closed
	stderr *tail
}

// StartControlPlane starts the control plane on cfg.Dir and waits until it is ready. One that a killed vic left behind
// is stopped first. ctx ends the wait, not the control plane.
func StartControlPlane(ctx context.Context, cfg ControlPlaneConfig) (*ControlPlane, error) {
	alive, err := stopLeft(ctx, cfg.Binary, cfg.Dir)
	if err != nil {
		return nil, err
	}
	defer alive.Close()                                                                                          // the child has it too, for as long as it lives
	p := &ControlPlane{cmd: exec.Command(cfg.Binary, cfg.args()...), done: make(chan struct{}), stderr: &tail{}} //nolint:noctx // it outlives ctx and is ended by Stop
	// A group of its own keeps the terminal's Ctrl-C away: pods end before their API server.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Stderr, p.cmd.ExtraFiles = p.stderr, []*os.File{alive}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start control plane: %w", err)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start control plane: %w", err)
	}
	ready := make(chan string, 1)
	// Ends when the process does.
	go func() {
		defer close(p.done)
		if url := readyLine(stdout); url != "" {
			ready <- url
		}
		_, _ = io.Copy(io.Discard, stdout) // what follows the ready line is of no interest
		p.err = p.cmd.Wait()
	}()
	return p.wait(ctx, ready)
}

func (p *ControlPlane) wait(ctx context.Context, ready <-chan string) (*ControlPlane, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	select {
	case p.URL = <-ready:
		return p, nil
	case <-p.done:
		return nil, p.Err()
	case <-ctx.Done():
		return nil, errors.Join(fmt.Errorf("wait for the control plane: %w", ctx.Err()), p.Stop(context.WithoutCancel(ctx)))
	}
}

// Done is closed when the control plane has ended.
func (p *ControlPlane) Done() <-chan struct{} { return p.done }

// Err says why a control plane ended by itself; it is valid after Done.
func (p *ControlPlane) Err() error {
	text := strings.TrimSpace(p.stderr.String())
	if text == "" {
		return fmt.Errorf("control plane ended: %w", p.err)
	}
	return fmt.Errorf("control plane ended: %s", text)
}

// Stop ends the control plane and waits for it; after stopTimeout it is killed.
func (p *ControlPlane) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		_ = p.cmd.Process.Kill() // as above
		<-p.done
		return fmt.Errorf("stop control plane: killed: %w", ctx.Err())
	}
}

// StopControlPlane stops a control plane that runs on dir, whoever started it; none is not an error.
func StopControlPlane(ctx context.Context, binary string, dir *statedir.Dir) error {
	alive, err := stopLeft(ctx, binary, dir)
	if err != nil {
		return err
	}
	return alive.Close()
}

// stopLeft stops what was left on dir, and returns the file whose lock a control plane has from its first instruction to
// its end: one that vic has started and that has not taken the lock of its own directory yet is known by it.
func stopLeft(ctx context.Context, binary string, dir *statedir.Dir) (*os.File, error) {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	tick := time.NewTicker(stopInterval)
	defer tick.Stop()
	for {
		if err := askToStop(ctx, binary, dir); err != nil {
			return nil, err
		}
		alive, err := statedir.Lock(controlPlaneAlive(dir))
		if err == nil || !errors.Is(err, statedir.ErrInUse) {
			return alive, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("stop the control plane that was left on %s: it has only begun to start: %w", dir.ControlPlane(), ctx.Err())
		}
	}
}

// controlPlaneAlive is locked while a control plane lives that vic started.
func controlPlaneAlive(dir *statedir.Dir) string {
	return filepath.Join(dir.Path, "controlplane.alive")
}

func askToStop(ctx context.Context, binary string, dir *statedir.Dir) error {
	if _, err := os.Stat(dir.ControlPlane()); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	out, err := exec.CommandContext(ctx, binary, "stop", "--dir", dir.ControlPlane()).CombinedOutput()
	if err != nil {
		return fmt.Errorf("stop the control plane that was left on %s: %w: %s", dir.ControlPlane(), err, strings.TrimSpace(string(out)))
	}
	logging.From(ctx).DebugContext(ctx, "control plane stopped", "output", strings.TrimSpace(string(out)))
	return nil
}

// readyLine returns the URL of the line "ready URL", and "" at the end of r.
func readyLine(r io.Reader) string {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if url, ok := strings.CutPrefix(lines.Text(), "ready "); ok {
			return url
		}
	}
	return ""
}

// tail keeps the end of what is written to it.
type tail struct {
	mu sync.Mutex // guards b
	b  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	t.b = t.b[max(0, len(t.b)-stderrTail):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}
