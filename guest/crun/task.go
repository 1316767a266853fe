package crun

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/virtual-kubelet/vic/guest/logfile"
	"github.com/virtual-kubelet/vic/guest/process"
	"github.com/virtual-kubelet/vic/guest/stdio"
	"github.com/virtual-kubelet/vic/guest/supervisor"
	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/logging"
)

// task is one attempt. It implements [supervisor.Task].
type task struct {
	runtime        *Runtime
	attempt        supervisor.Attempt
	bundle         *bundle
	log            *logfile.File
	streams        *streams
	stdout, stderr stdio.Fanout
	output         sync.WaitGroup // copies of output

	done    chan struct{} // closed when result is set
	cleaned chan struct{} // closed when nothing is left of the attempt
	result  supervisor.Result

	input *input // nil where the container has none
}

// newTask returns a task whose output is copied from now on.
func (r *Runtime) newTask(ctx context.Context, a supervisor.Attempt, b *bundle, log *logfile.File, s *streams) *task {
	t := &task{
		runtime: r, attempt: a, bundle: b, log: log, streams: s,
		done: make(chan struct{}), cleaned: make(chan struct{}),
	}
	if file := s.input(); file != nil && a.Container.Stdin {
		t.input = newInput(file, a.Container.StdinOnce && s.tty == nil, s.process.Done())
	}
	if s.tty != nil {
		t.copy(ctx, s.tty, logfile.Stdout, &t.stdout)
		return t
	}
	t.copy(ctx, s.stdout, logfile.Stdout, &t.stdout)
	t.copy(ctx, s.stderr, logfile.Stderr, &t.stderr)
	return t
}

// copy moves a stream to the log and to those who are attached, until the process has ended.
func (t *task) copy(ctx context.Context, from *os.File, stream string, attached io.Writer) {
	t.output.Go(func() {
		w := t.log.Writer(stream)
		stdio.Copy(io.MultiWriter(w, attached), from, t.streams.process.Done())
		if err := w.Close(); err != nil {
			logging.From(ctx).WarnContext(ctx, "log was not written", "err", err)
		}
	})
}

// watch waits for the end of the process and then cleans up. The result is known before that: crun takes its time.
func (t *task) watch(ctx context.Context) {
	status := t.streams.process.Status()
	t.result = supervisor.Result{ExitCode: process.ExitCode(status), FinishedAt: time.Now()}
	if status.Signaled() {
		t.result.Signal = status.Signal()
	}
	if err := t.killRest(); err != nil {
		logging.From(ctx).WarnContext(ctx, "processes were left behind", "err", err)
	}
	t.output.Wait()
	t.log.End()
	t.result.OOMKilled = t.oomKills() > 0
	t.result.Message = t.message()
	t.stdout.Close()
	t.stderr.Close()
	close(t.done)

	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	t.streams.close()
	if err := t.runtime.crun(ctx, t.bundle.dir, "delete", "--force", t.attempt.ID); err != nil {
		logging.From(ctx).WarnContext(ctx, "container was left behind", "err", err)
	}
	if err := t.bundle.remove(); err != nil {
		logging.From(ctx).WarnContext(ctx, "container root was left behind", "err", err)
	}
	close(t.cleaned)
}

// killRest ends what the container's first process has left behind, which the kernel does only in a process namespace of
// its own.
func (t *task) killRest() error {
	if t.bundle.joined == nil {
		return nil
	}
	return os.WriteFile(t.cgroupFile("cgroup.kill"), []byte("1"), 0)
}

// cgroupFile is a file of the container's cgroup.
func (t *task) cgroupFile(name string) string {
	return filepath.Join(t.runtime.c.CgroupRoot, t.runtime.cgroup(t.attempt.Container.Name), name)
}

// abandon ends a task whose process was never let run.
func (t *task) abandon() {
	<-t.streams.process.Done()
	t.output.Wait()
	t.log.End()
	t.streams.close()
}

// oomKills is how many processes the kernel ended in the container's cgroup for lack of memory.
func (t *task) oomKills() int {
	b, err := os.ReadFile(t.cgroupFile("memory.events"))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if n, ok := strings.CutPrefix(line, "oom_kill "); ok {
			kills, _ := strconv.Atoi(strings.TrimSpace(n)) // the kernel writes numbers
			return kills
		}
	}
	return 0
}

// message is the termination message: the file's content, or where that is empty and the container failed, the log's end
// if that was asked for.
func (t *task) message() string {
	c := t.attempt.Container
	if c.TerminationMessagePath != "" {
		if f, err := os.Open(t.bundle.message); err == nil {
			defer f.Close()
			b, _ := io.ReadAll(io.LimitReader(f, wire.MaxMessageBytes)) // what can be read is the message
			if len(b) > 0 {
				return string(b)
			}
		}
	}
	if c.TerminationMessageFromLog && t.result.ExitCode != 0 {
		return t.log.Tail()
	}
	return ""
}

// Signal implements [supervisor.Task].
func (t *task) Signal(sig syscall.Signal) error { return t.streams.process.Signal(sig) }

// Done implements [supervisor.Task].
func (t *task) Done() <-chan struct{} { return t.done }

// Result implements [supervisor.Task].
func (t *task) Result() supervisor.Result { return t.result }

// LogBytes implements [supervisor.Task].
func (t *task) LogBytes() int64 { return t.log.Size() }
