package fakeguest

import (
	"io"
	"maps"
	"slices"
	"time"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// container is one container of the pod; the guest's mutex guards it.
type container struct {
	guest  *Guest
	role   wire.Role
	spec   wire.Container
	status wire.ContainerStatus
	begun  bool // it was started in this boot
	anew   bool // it is started again when it has ended, because another revision came
	passed bool // those behind it may start
	logs   map[int32]*attemptLog
	stop   chan struct{} // closed to end the attempt that runs; nil while none runs
	stdin  *io.PipeWriter
	fans   map[*fan]struct{} // attached
}

func newContainer(g *Guest, seed wire.Seed) *container {
	c := &container{guest: g, role: seed.Role, logs: map[int32]*attemptLog{}, fans: map[*fan]struct{}{}}
	c.status = wire.ContainerStatus{
		Name:         seed.Name,
		State:        wire.ContainerWaiting,
		Reason:       wire.ReasonContainerCreating,
		RestartCount: seed.RestartCount,
		Last:         seed.Last,
		Final:        seed.Final,
	}
	if seed.Final && seed.Last != nil {
		c.status.State, c.status.Reason, c.status.Current = wire.ContainerTerminated, "", seed.Last
		c.passed = seed.Last.ExitCode == 0
	}
	return c
}

func (g *Guest) findLocked(name string) *container {
	for _, c := range g.containers {
		if c.status.Name == name {
			return c
		}
	}
	return nil
}

// startLocked begins an attempt.
func (c *container) startLocked() {
	attempt := c.status.RestartCount
	log := &attemptLog{changed: make(chan struct{})}
	c.logs[attempt] = log
	c.stop = make(chan struct{})
	stdin, writer := io.Pipe()
	c.stdin = writer
	c.status.State, c.status.Reason = wire.ContainerRunning, ""
	c.status.ID, c.status.StartedAt = randomHex(32), time.Now()
	c.status.Current = nil
	c.status.Started, c.status.Ready = true, true
	c.begun = true
	c.passed = c.passed || c.role == wire.RoleSidecar
	c.guest.eventLocked(c.status.Name, "Started", "Container started")
	c.guest.notifyLocked()
	streams := Stdio{Out: c.writer(log, "stdout"), Err: c.writer(log, "stderr")}
	if c.spec.Stdin {
		streams.In = stdin
	}
	stop := c.stop
	// Ends with the script, at the latest when it is stopped.
	go func() {
		code := run(c.spec.Args, streams, stop)
		_ = stdin.Close() // a pipe's Close never fails
		c.guest.mu.Lock()
		defer c.guest.mu.Unlock()
		c.endedLocked(log, code)
	}()
}

// endedLocked records how the attempt ended, and starts the next one where the policy wants it.
func (c *container) endedLocked(log *attemptLog, code int32) {
	g := c.guest
	log.end()
	reason := wire.ReasonCompleted
	if code != 0 {
		reason = wire.ReasonError
	}
	t := &wire.Terminated{
		ID: c.status.ID, ExitCode: code, Reason: reason, StartedAt: c.status.StartedAt, FinishedAt: time.Now(),
		Attempt: c.status.RestartCount, LogBytes: log.length(),
	}
	c.stop = nil
	c.status.ID, c.status.StartedAt = "", time.Time{}
	c.status.Started, c.status.Ready = false, false
	if g.phase == wire.PhaseConfigured && !g.ending && c.restarts(code) {
		c.status.State, c.status.Reason, c.status.Last = wire.ContainerWaiting, wire.ReasonCrashLoopBackOff, t
		time.AfterFunc(RestartPause, c.restart)
	} else {
		c.status.State, c.status.Current, c.status.Final = wire.ContainerTerminated, t, true
		c.passed = c.passed || code == 0
	}
	g.advanceLocked()
	g.notifyLocked()
}

func (c *container) restart() {
	c.guest.mu.Lock()
	defer c.guest.mu.Unlock()
	if c.guest.last == nil && c.guest.phase == wire.PhaseConfigured && !c.guest.ending && !c.status.Final {
		c.anew = false
		c.status.RestartCount++
		c.startLocked()
	}
}

// stopLocked ends the attempt that runs, or makes final what waits.
func (c *container) stopLocked() {
	switch {
	case c.stop != nil:
		select {
		case <-c.stop:
		default:
			close(c.stop)
			_ = c.stdin.Close() // a pipe's Close never fails
		}
	default:
		c.status.Final = true
	}
}

// writer writes lines to the attempt's log and to whoever is attached.
func (c *container) writer(log *attemptLog, stream string) io.Writer {
	return writerFunc(func(b []byte) (int, error) {
		log.write(stream, b)
		c.guest.mu.Lock()
		fans := slices.Collect(maps.Keys(c.fans))
		c.guest.mu.Unlock()
		for _, f := range fans {
			f.write(stream, b)
		}
		return len(b), nil
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
