package standalone

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/internal/filelock"
	"github.com/virtual-kubelet/vic/node/statedir"
)

const (
	// simulatorStartTimeout bounds the wait for a simulator's ready file: under a second on an idle machine.
	simulatorStartTimeout = 2 * time.Minute
	// simulatorStopTimeout is what a simulator gets to end its VMs before it is killed, which ends them too.
	simulatorStopTimeout = 30 * time.Second
	// simulatorInterval is how often a simulator is looked at that starts or stops, and simulatorWatch one that runs.
	simulatorInterval = 100 * time.Millisecond
	simulatorWatch    = time.Second
	// aliveDescriptor is where a simulator has the file whose lock it holds.
	aliveDescriptor = 3
)

// SimulatorConfig says how to run a simulated vCenter. The program calls BecomeSimulator first, serves until SIGTERM, and
// has the file Ready while it does.
type SimulatorConfig struct {
	Dir    *statedir.Dir
	Binary string
	Args   []string
	// Ready is a file that the program writes when it can be used.
	Ready string
}

// StartSimulator starts a simulated vCenter and waits until it is ready. It is a process of its own, as a real one is
// elsewhere: one that serves on cfg.Dir already is taken as it is, and a vic that is killed leaves it. ctx ends the wait.
func StartSimulator(ctx context.Context, cfg SimulatorConfig) error {
	if err := os.MkdirAll(cfg.Dir.Simulator(), 0o700); err != nil {
		return fmt.Errorf("start simulated vCenter: %w", err)
	}
	alive, err := statedir.Lock(simulatorAlive(cfg.Dir))
	if errors.Is(err, statedir.ErrInUse) {
		if _, err := os.Stat(cfg.Ready); err == nil {
			return nil
		}
		// It had only begun to start when whoever waited for it was killed.
		if err := StopSimulator(ctx, cfg.Dir); err != nil {
			return err
		}
		alive, err = statedir.Lock(simulatorAlive(cfg.Dir))
	}
	if err != nil {
		return fmt.Errorf("start simulated vCenter: %w", err)
	}
	defer alive.Close() // the child has it too, for as long as it lives
	ended, err := cfg.spawn(alive)
	if err != nil {
		return fmt.Errorf("start simulated vCenter: %w", err)
	}
	return cfg.await(ctx, ended)
}

// spawn starts the program. What it returns is closed when the program has ended.
func (c SimulatorConfig) spawn(alive *os.File) (<-chan struct{}, error) {
	// What a killed one left says nothing of this one.
	if err := errors.Join(alive.Truncate(0), os.RemoveAll(c.Ready)); err != nil {
		return nil, err
	}
	log, err := os.Create(simulatorLog(c.Dir))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(c.Binary, c.Args...) //nolint:noctx // it outlives ctx and is ended by StopSimulator
	// A group of its own keeps the terminal's Ctrl-C away: pods end before their vCenter.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = log, log, []*os.File{alive}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	// Ends with the process.
	go func() {
		defer close(ended)
		_ = cmd.Wait() // its log says how it ended
	}()
	return ended, nil
}

func (c SimulatorConfig) await(ctx context.Context, ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, simulatorStartTimeout)
	defer cancel()
	tick := time.NewTicker(simulatorInterval)
	defer tick.Stop()
	for {
		if _, err := os.Stat(c.Ready); err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ended:
			return simulatorEnded(c.Dir)
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("wait for the simulated vCenter: %w", ctx.Err()), StopSimulator(context.WithoutCancel(ctx), c.Dir))
		}
	}
}

// WatchSimulator returns when the simulator of dir has ended, with the reason, or when ctx ends.
func WatchSimulator(ctx context.Context, dir *statedir.Dir) error {
	tick := time.NewTicker(simulatorWatch)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if runs, err := SimulatorRuns(dir); !runs || err != nil {
			return errors.Join(err, simulatorEnded(dir))
		}
	}
}

// SimulatorRuns is true while a simulated vCenter runs on dir, whoever started it.
func SimulatorRuns(dir *statedir.Dir) (bool, error) { return filelock.Held(simulatorAlive(dir)) }

// StopSimulator ends the simulated vCenter of dir with all VMs that it has, whoever started it; none is not an error.
func StopSimulator(ctx context.Context, dir *statedir.Dir) error {
	ctx, cancel := context.WithTimeout(ctx, simulatorStopTimeout)
	defer cancel()
	tick := time.NewTicker(simulatorInterval)
	defer tick.Stop()
	for {
		if runs, err := SimulatorRuns(dir); !runs || err != nil {
			return err
		}
		signalSimulator(dir, unix.SIGTERM)
		select {
		case <-tick.C:
		case <-ctx.Done():
			signalSimulator(dir, unix.SIGKILL)
			return fmt.Errorf("stop simulated vCenter: killed: %w", ctx.Err())
		}
	}
}

// signalSimulator sends a signal to whoever holds the lock, once it has said which process it is.
func signalSimulator(dir *statedir.Dir, signal syscall.Signal) {
	b, err := os.ReadFile(simulatorAlive(dir))
	if err != nil {
		return // it is asked again
	}
	if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && pid > 0 {
		_ = unix.Kill(pid, signal) // it may have ended
	}
}

// BecomeSimulator is called by the program of a simulator, on the directory that it serves, before all else: it says
// which process it is, and keeps the lock to itself.
func BecomeSimulator(dir *statedir.Dir) error {
	unix.CloseOnExec(aliveDescriptor)
	if runs, err := SimulatorRuns(dir); !runs || err != nil {
		return errors.Join(err, errors.New("a simulated vCenter is started by vic up --vsphere-simulator"))
	}
	return os.WriteFile(simulatorAlive(dir), []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600)
}

func simulatorEnded(dir *statedir.Dir) error {
	b, err := os.ReadFile(simulatorLog(dir))
	if err != nil {
		return fmt.Errorf("simulated vCenter ended: %w", err)
	}
	return fmt.Errorf("simulated vCenter ended: %s", strings.TrimSpace(string(b[max(0, len(b)-stderrTail):])))
}

// simulatorAlive is locked while a simulator lives, and has its process's number: the program inherits the lock.
func simulatorAlive(dir *statedir.Dir) string { return filepath.Join(dir.Simulator(), "alive") }

func simulatorLog(dir *statedir.Dir) string { return filepath.Join(dir.Simulator(), "log") }
