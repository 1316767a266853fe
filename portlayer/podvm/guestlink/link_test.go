package guestlink_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/yamux"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm/guestlink"
	"github.com/virtual-kubelet/vic/portlayer/podvm/rundir"
	"github.com/virtual-kubelet/vic/portlayer/portlayertest/fakeguest"
	"github.com/virtual-kubelet/vic/portlayer/portlayertest/memhv"
)

const uid = "uid-1"

// room is a VM that runs, and what its links keep.
type room struct {
	*testing.T
	ctx       context.Context // bounds the test
	hv        *memhv.Hypervisor
	logs      *rundir.Dir
	snapshots chan *wire.Snapshot
	changed   chan struct{}
}

func newRoom(t *testing.T) *room {
	t.Helper()
	return roomIn(t, t.TempDir())
}

// roomIn is a room that keeps what it has in root.
func roomIn(t *testing.T, root string) *room {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	store, err := rundir.Open(rundir.Config{Root: root})
	require.NoError(t, err)
	logs, err := store.Dir(uid)
	require.NoError(t, err)
	r := &room{
		T: t, ctx: ctx, hv: memhv.New(memhv.Config{}), logs: logs,
		snapshots: make(chan *wire.Snapshot, 1000), changed: make(chan struct{}, 1),
	}
	_, err = r.hv.Create(ctx, portlayer.Spec{ID: uid, Owner: portlayer.Owner{Kind: "Pod", UID: uid}})
	require.NoError(t, err)
	require.NoError(t, r.hv.PowerOn(ctx, uid))
	t.Cleanup(func() { r.hv.Vanish(uid) })
	return r
}

// link opens a link to the VM and waits for the greeting.
func (r *room) link() *guestlink.Link {
	r.Helper()
	l := guestlink.Open(r.ctx, guestlink.Config{
		Dial:   func(ctx context.Context) (io.ReadWriteCloser, error) { return r.hv.Dial(ctx, uid) },
		Expect: func() guestlink.Expect { return guestlink.Expect{Containers: []string{"app"}} },
		Logs:   r.logs,
		OnSnapshot: func(s *wire.Snapshot) {
			select {
			case r.snapshots <- s:
			default:
			}
		},
		OnChange: func() {
			select {
			case r.changed <- struct{}{}:
			default:
			}
		},
	})
	r.Cleanup(l.Close)
	for {
		if _, open := l.Greeted(); open {
			return l
		}
		select {
		case <-r.changed:
		case <-r.ctx.Done():
			require.Fail(r, "guest did not greet")
		}
	}
}

// run runs a script as the pod's one container.
func (r *room) run(l *guestlink.Link, script string, stdin bool) {
	r.Helper()
	_, err := l.Configure(r.ctx, wire.Pod{
		UID: uid, RestartPolicy: "Never", Containers: []wire.Seed{{Name: "app"}}, Time: time.Now(), Entropy: make([]byte, 32),
	})
	require.NoError(r, err)
	require.NoError(r, l.Run(r.ctx, wire.Container{Name: "app", Args: fakeguest.Script(script), Stdin: stdin}))
}

// await returns the first snapshot that is as wanted.
func (r *room) await(wanted func(*wire.Snapshot) bool) *wire.Snapshot {
	r.Helper()
	for {
		select {
		case s := <-r.snapshots:
			if wanted(s) {
				return s
			}
		case <-r.ctx.Done():
			require.Fail(r, "no such snapshot came")
		}
	}
}

func done(s *wire.Snapshot) bool { return s.Phase == wire.PhaseDone }

func (r *room) log() string {
	r.Helper()
	reader, err := r.logs.ReadLog(r.ctx, "app", 0, rundir.ReadOptions{})
	require.NoError(r, err)
	b, err := io.ReadAll(reader)
	require.NoError(r, err)
	return string(b)
}

func (r *room) awaitLog(text string) {
	r.Helper()
	require.Eventually(r, func() bool { return r.log() == text }, 30*time.Second, time.Millisecond)
}

func TestALogIsCopiedAndFreed(t *testing.T) {
	r := newRoom(t)
	l := r.link()
	text := strings.Repeat("a line of some length\n", 40_000) // more than is freed at once
	r.run(l, "sleep 1", false)
	require.NoError(t, r.hv.Guest(uid).Log("app", "stdout", text))
	s := r.await(done)
	require.Eventually(t, func() bool { return r.logs.LogFinished("app", 0) }, 30*time.Second, time.Millisecond)
	require.Equal(t, text, r.log())
	require.Equal(t, s.Containers[0].Current.LogBytes, r.logs.LogEnd("app", 0))
	require.Equal(t, s.Containers[0].Current.LogBytes, r.hv.Guest(uid).LogFreed("app"))
}

func TestALogGoesOnWhenTheDiskHasRoomAgain(t *testing.T) {
	require.Zero(t, os.Geteuid(), "mounting a small file system needs root")
	root := t.TempDir()
	require.NoError(t, unix.Mount("none", root, "tmpfs", 0, "size=1m"))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(root, unix.MNT_DETACH)) })
	filler := filepath.Join(root, "filler")
	require.NoError(t, os.WriteFile(filler, make([]byte, 1010<<10), 0o600)) // 99 %
	r := roomIn(t, root)
	r.logs.SetLive(true)
	l := r.link()
	var text strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&text, "line %d\n", i)
	}
	r.run(l, "sleep 1", false)
	require.NoError(t, r.hv.Guest(uid).Log("app", "stdout", text.String()))
	r.await(done)
	require.Eventually(t, func() bool {
		var disk unix.Statfs_t
		return unix.Statfs(root, &disk) == nil && disk.Bfree == 0
	}, 30*time.Second, time.Millisecond)
	require.False(t, r.logs.LogFinished("app", 0))
	begin := r.log()
	require.NotEmpty(t, begin, "what there was room for is kept")
	require.True(t, strings.HasPrefix(text.String(), begin), "and is whole: %q", begin[max(0, len(begin)-200):])
	require.NoError(t, unix.Mount("none", root, "tmpfs", unix.MS_REMOUNT, "size=4m"))
	require.Eventually(t, func() bool { return r.logs.LogFinished("app", 0) }, 30*time.Second, time.Millisecond)
	require.Equal(t, text.String(), r.log(), "nothing is lost or repeated")
}

func TestWhatTheGuestDroppedIsMarked(t *testing.T) {
	r := newRoom(t)
	l := r.link()
	r.run(l, "echo first; sleep 60", false)
	r.awaitLog("first\n")
	end := r.logs.LogEnd("app", 0)
	l.Close()
	guest := r.hv.Guest(uid)
	require.NoError(t, guest.Log("app", "stdout", "lost\n"))
	guest.DropLog("app", end+1<<20)
	require.NoError(t, guest.Log("app", "stdout", "second\n"))
	r.link()
	require.Eventually(t, func() bool { return strings.HasSuffix(r.log(), "second\n") }, 30*time.Second, time.Millisecond)
	require.Regexp(t, `^first\n\[\d+ bytes of this log were dropped\]\nsecond\n$`, r.log())
}

func TestAttachSeesTheContainerToItsEnd(t *testing.T) {
	r := newRoom(t)
	l := r.link()
	r.run(l, "cat; echo bye >&2; exit 4", true)
	var out, errs bytes.Buffer
	stdin, typist := io.Pipe()
	go func() { // ends with the test's input
		_, _ = typist.Write([]byte("hello\n"))
		_ = typist.Close()
	}()
	exit, err := l.Attach(r.ctx, "app", wire.Attach{Stdin: true}, guestlink.Streams{Stdin: stdin, Stdout: &out, Stderr: &errs})
	require.NoError(t, err)
	assert.Equal(t, int32(4), exit.Code)
	assert.Equal(t, "hello\n", out.String())
	assert.Equal(t, "bye\n", errs.String())
	_, err = l.Attach(r.ctx, "app", wire.Attach{}, guestlink.Streams{})
	var status *guestlink.StatusError
	require.ErrorAs(t, err, &status)
	require.Equal(t, 409, status.Code)
}

func TestExecCarriesTerminalSizes(t *testing.T) {
	r := newRoom(t)
	l := r.link()
	r.run(l, "sleep 60", false)
	sizes := make(chan wire.TerminalSize, 1)
	sizes <- wire.TerminalSize{Columns: 80, Rows: 25}
	got := make(lineWriter, 1)
	stdin, typist := io.Pipe()
	ended := make(chan error, 1)
	go func() { // ends with the command
		_, err := l.Exec(r.ctx, "app", wire.Exec{Args: fakeguest.Script("cat"), TTY: true, Stdin: true},
			guestlink.Streams{Stdin: stdin, Stdout: got, Resize: sizes})
		ended <- err
	}()
	require.JSONEq(t, `{"columns":80,"rows":25}`, <-got)
	require.NoError(t, typist.Close())
	require.NoError(t, <-ended)
}

type lineWriter chan string

func (w lineWriter) Write(b []byte) (int, error) { w <- string(b); return len(b), nil }

func TestAnExecWhoseOutputHasNoTakerEnds(t *testing.T) {
	r := newRoom(t)
	l := r.link()
	r.run(l, "sleep 60", false)
	cause := errors.New("terminal is gone")
	_, err := l.Exec(r.ctx, "app", wire.Exec{Args: fakeguest.Script("echo x; sleep 60")},
		guestlink.Streams{Stdout: failingWriter{cause}})
	require.ErrorIs(t, err, cause)
}

type failingWriter struct{ cause error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.cause }

func TestAnExecEndsWithItsChannel(t *testing.T) {
	r := newRoom(t)
	l := r.link()
	r.run(l, "sleep 60", false)
	got := make(lineWriter, 1)
	ended := make(chan error, 1)
	go func() { // ends when the channel breaks
		_, err := l.Exec(r.ctx, "app", wire.Exec{Args: fakeguest.Script("echo up; sleep 60")}, guestlink.Streams{Stdout: got})
		ended <- err
	}()
	require.Equal(t, "up\n", <-got)
	r.hv.Cut(uid, 0)
	require.ErrorIs(t, <-ended, guestlink.ErrUnreachable)
}

func TestAPortIsDialedFromInside(t *testing.T) {
	r := newRoom(t)
	l := r.link()
	conn, err := l.DialPort(r.ctx, 8080)
	require.NoError(t, err)
	text := bytes.Repeat([]byte("0123456789"), 50_000)
	go func() { // ends with text
		_, _ = conn.Write(text)
		_ = conn.(interface{ CloseWrite() error }).CloseWrite()
	}()
	got, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.Equal(t, text, got)
	require.NoError(t, conn.Close())
	_, err = l.DialPort(r.ctx, 1)
	require.ErrorContains(t, err, "connection refused")
}

func TestSnapshotsThatCannotBeAreNotHandedOn(t *testing.T) {
	r := newRoom(t)
	l := r.link()
	r.run(l, "sleep 60", false)
	running := r.await(func(s *wire.Snapshot) bool {
		return len(s.Containers) == 1 && s.Containers[0].State == wire.ContainerRunning
	})
	guest := r.hv.Guest(uid)
	spoils := map[string]func(*wire.Snapshot){
		"too long":         func(s *wire.Snapshot) { s.StopReason = strings.Repeat("x", wire.MaxSnapshotBytes) },
		"malformed":        func(s *wire.Snapshot) { s.Phase = "dancing" },
		"of another boot":  func(s *wire.Snapshot) { s.BootID = "other" },
		"older than known": func(s *wire.Snapshot) { s.Generation = 0; s.StopReason = "old" },
	}
	for name, spoil := range spoils {
		t.Run(name, func(t *testing.T) {
			var sent atomic.Int32
			guest.Spoil(func(s *wire.Snapshot) { spoil(s); sent.Add(1) })
			require.Eventually(t, func() bool { return sent.Load() > 1 }, 30*time.Second, time.Millisecond)
			for len(r.snapshots) > 0 {
				s := <-r.snapshots
				require.Equal(t, running.BootID, s.BootID)
				require.Empty(t, s.StopReason)
			}
		})
	}
	guest.Spoil(func(s *wire.Snapshot) { s.StopReason = "well again" })
	r.await(func(s *wire.Snapshot) bool { return s.StopReason == "well again" })
}

func TestAnAnswerThatWasLongOnTheWayDoesNotStepTheClock(t *testing.T) {
	r := newRoom(t)
	l := r.link()
	r.run(l, "sleep 60", false)
	guest := r.hv.Guest(uid)
	greetings := guest.Greetings()
	guest.Spoil(func(s *wire.Snapshot) { s.Time = s.Time.Add(-5 * time.Second) })
	require.Eventually(t, func() bool { return guest.Greetings() > greetings }, 30*time.Second, time.Millisecond, "it is looked at")
	r.await(func(*wire.Snapshot) bool { return true })
	require.Zero(t, guest.Clock(), "and it was right")
}

// guestOf answers one host on a pipe and hands its session to talk.
func guestOf(t *testing.T, talk func(*yamux.Session)) func(context.Context) (io.ReadWriteCloser, error) {
	t.Helper()
	return func(context.Context) (io.ReadWriteCloser, error) {
		host, port := net.Pipe()
		go func() { // ends when the host closes its end
			_ = wire.Accept(port, func(conn io.ReadWriteCloser) {
				cfg := yamux.DefaultConfig()
				cfg.LogOutput = io.Discard
				if mux, err := yamux.Server(conn, cfg); err == nil {
					talk(mux)
				}
			})
		}()
		return host, nil
	}
}

func TestAGuestThatOpensStreamsIsCut(t *testing.T) {
	cut := make(chan struct{}, 100)
	dial := guestOf(t, func(mux *yamux.Session) {
		_, _ = mux.Open()
		<-mux.CloseChan()
		cut <- struct{}{}
	})
	l := guestlink.Open(t.Context(), guestlink.Config{
		Dial: dial, OnChange: func() {}, Expect: func() guestlink.Expect { return guestlink.Expect{} },
	})
	defer l.Close()
	<-cut
	_, open := l.Greeted()
	require.False(t, open)
	require.NotZero(t, l.SilentSince())
}

func TestCallsEndWithTheirTime(t *testing.T) {
	dial := guestOf(t, func(mux *yamux.Session) { <-mux.CloseChan() })
	l := guestlink.Open(t.Context(), guestlink.Config{
		Dial: dial, OnChange: func() {}, Expect: func() guestlink.Expect { return guestlink.Expect{} },
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, l.Stop(ctx, wire.Stop{}), guestlink.ErrUnreachable)
	_, err := l.DialPort(ctx, 80)
	require.ErrorIs(t, err, guestlink.ErrUnreachable)
	l.Close()
	require.ErrorIs(t, l.Stop(t.Context(), wire.Stop{}), guestlink.ErrUnreachable)
	cancelled, stop := context.WithCancel(t.Context())
	stop()
	_, err = l.Exec(cancelled, "app", wire.Exec{}, guestlink.Streams{})
	require.Error(t, err)
}

func TestCopiesOfOneVMHaveDifferentBoots(t *testing.T) {
	names := map[string]bool{}
	for range 3 {
		r := newRoom(t)
		r.hv.Copy(uid, "template") // a VM that was copied while its boot had that name
		name, _ := r.link().Greeted()
		assert.NotEqual(t, "template", name)
		names[name] = true
	}
	assert.Len(t, names, 3)
}

func TestABootKeepsItsName(t *testing.T) {
	r := newRoom(t)
	l := r.link()
	name, _ := l.Greeted()
	r.hv.Cut(uid, 0)
	require.Eventually(t, func() bool { return r.hv.Guest(uid).Greetings() > 1 }, 30*time.Second, 10*time.Millisecond)
	again, _ := l.Greeted()
	assert.Equal(t, name, again, "a guest that its link knows")
	l.Close()
	l = r.link()
	r.run(l, "sleep 600", false)
	name, _ = l.Greeted()
	l.Close()
	again, _ = r.link().Greeted()
	assert.Equal(t, name, again, "a guest that has a pod")
}
