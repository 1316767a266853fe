package fakeguest

import (
	"fmt"
	"io"
	"sync"
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

// fan passes a container's output to an attached host.
type fan struct{ out, err io.Writer }

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
	c.guest.tellLocked()
	streams := stdio{out: c.writer(log, "stdout"), err: c.writer(log, "stderr")}
	if c.spec.Stdin {
		streams.in = stdin
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
	g.tellLocked()
}

func (c *container) restart() {
	c.guest.mu.Lock()
	defer c.guest.mu.Unlock()
	select {
	case <-c.guest.ended:
		return
	default:
	}
	if c.guest.phase == wire.PhaseConfigured && !c.guest.ending && !c.status.Final {
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
		defer c.guest.mu.Unlock()
		for f := range c.fans {
			w := f.out
			if stream == "stderr" {
				w = f.err
			}
			_, _ = w.Write(b) // its host is gone when it fails
		}
		return len(b), nil
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// Log writes to the log of a container's current attempt, as its process would. It fails when none runs.
func (g *Guest) Log(container, stream, text string) error {
	g.mu.Lock()
	c := g.findLocked(container)
	if c == nil || c.stop == nil {
		g.mu.Unlock()
		return fmt.Errorf("container %s does not run", container)
	}
	log := c.logs[c.status.RestartCount]
	g.mu.Unlock()
	log.write(stream, []byte(text))
	return nil
}

// DropLog makes the guest lose the beginning of the current attempt's log up to offset, as a full one does.
func (g *Guest) DropLog(container string, offset int64) {
	g.mu.Lock()
	log := g.findLocked(container).logs[g.findLocked(container).status.RestartCount]
	g.mu.Unlock()
	log.free(offset)
}

// LogFreed is up to where the host has let the guest free the current attempt's log.
func (g *Guest) LogFreed(container string) int64 {
	g.mu.Lock()
	log := g.findLocked(container).logs[g.findLocked(container).status.RestartCount]
	g.mu.Unlock()
	log.mu.Lock()
	defer log.mu.Unlock()
	return log.freed
}

// attemptLog is the log of one attempt.
type attemptLog struct {
	mu      sync.Mutex // guards what follows
	data    []byte
	freed   int64
	ended   bool
	changed chan struct{}
}

// write adds b in CRI form; b is whole lines.
func (l *attemptLog) write(stream string, b []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range splitLines(b) {
		l.data = fmt.Appendf(l.data, "%s %s F %s\n", time.Now().UTC().Format(time.RFC3339Nano), stream, line)
	}
	l.tellLocked()
}

func (l *attemptLog) free(offset int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.freed = max(l.freed, min(offset, int64(len(l.data))))
}

func (l *attemptLog) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.tellLocked()
}

func (l *attemptLog) length() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(len(l.data))
}

func (l *attemptLog) tellLocked() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// from returns what stands behind offset, and where it really begins.
func (l *attemptLog) from(offset int64) (b []byte, start int64, ended bool, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	start = min(max(offset, l.freed), int64(len(l.data)))
	return l.data[start:len(l.data):len(l.data)], start, l.ended, l.changed
}
