//go:build qemu

package guest_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// idle boots a machine with a container that runs until it is stopped, and has every volume.
func idle(t *testing.T, change func(*wire.Container)) *vm {
	t.Helper()
	v := start(t, t.TempDir())
	v.configure(podOf("Never", "app"))
	v.must("PUT", wire.PathFiles, wire.Files{Volume: "config", Files: []wire.File{
		{Path: "key", Mode: 0o600, Data: []byte("one")}, {Path: "dir/file", Mode: 0o644, Data: []byte("deep")},
	}})
	c := sh("app", "trap 'exit 0' TERM; while true; do sleep 0.2; done")
	c.Env = []string{"FROM=container"}
	c.Mounts = []wire.Mount{
		{Volume: "config", Path: "/config", ReadOnly: true},
		{Volume: "config", Path: "/etc/single", SubPath: "dir/file", ReadOnly: true},
		{Volume: "data", Path: "/data"},
		{Volume: "mem", Path: "/mem"},
	}
	if change != nil {
		change(&c)
	}
	v.run(c)
	v.awaitState("app", wire.ContainerRunning)
	return v
}

func (v *vm) output(name, script string) string {
	v.t.Helper()
	out, errOut, exit := v.exec(name, wire.Exec{Args: []string{"sh", "-c", script}}).result()
	require.Equal(v.t, wire.Exit{}, exit, "%s", errOut)
	return out
}

func TestExec(t *testing.T) {
	t.Parallel()
	v := idle(t, nil)
	t.Run("keeps the streams apart and returns the exit code", func(t *testing.T) {
		out, errOut, exit := v.exec("app", wire.Exec{Args: []string{"sh", "-c", "echo out; echo err >&2; echo $FROM; exit 42"}}).result()
		assert.Equal(t, "out\ncontainer\n", out)
		assert.Equal(t, "err\n", errOut)
		assert.Equal(t, int32(42), exit.Code)
	})
	t.Run("passes input on to its end", func(t *testing.T) {
		s := v.exec("app", wire.Exec{Args: []string{"wc", "-c"}, Stdin: true})
		for range 10 {
			s.send(wire.FrameStdin, strings.Repeat("x", 50_000))
		}
		s.send(wire.FrameEOF, "")
		out, _, exit := s.result()
		assert.Equal(t, "500000", strings.TrimSpace(out))
		assert.Zero(t, exit.Code)
	})
	t.Run("has a terminal of the size that was asked for", func(t *testing.T) {
		s := v.exec("app", wire.Exec{Args: []string{"sh"}, TTY: true, Stdin: true, Size: wire.TerminalSize{Columns: 90, Rows: 20}})
		s.send(wire.FrameStdin, "stty size; echo $TERM\n")
		s.expect("20 90\r\nxterm\r\n")
		s.send(wire.FrameResize, `{"columns":120,"rows":40}`)
		s.send(wire.FrameStdin, "stty size\n")
		s.expect("40 120\r\n")
		s.send(wire.FrameStdin, "exit 5\n")
		_, _, exit := s.result()
		assert.Equal(t, int32(5), exit.Code)
	})
	t.Run("says what could not run", func(t *testing.T) {
		for args, code := range map[string]int32{"nosuch": 127, "/etc/passwd": 126, "/nonexistent/x": 127} {
			for _, tty := range []bool{false, true} {
				_, _, exit := v.exec("app", wire.Exec{Args: []string{args}, TTY: tty}).result()
				assert.Equal(t, code, exit.Code, "%s: %+v", args, exit)
				assert.Contains(t, exit.Error, fmt.Sprintf("exec: %q: ", args))
			}
		}
	})
	t.Run("ends when the host leaves", func(t *testing.T) {
		s := v.exec("app", wire.Exec{Args: []string{"sh", "-c", "echo up; exec sleep 4321"}})
		s.expect("up\n")
		require.NoError(t, s.conn.Close())
		require.Eventually(t, func() bool { return !strings.Contains(v.output("app", "ps"), "4321") }, patience, 100*time.Millisecond)
	})
	t.Run("does not wait for what was left in the background", func(t *testing.T) {
		out, _, exit := v.exec("app", wire.Exec{Args: []string{"sh", "-c", "sleep 1000 & echo done"}}).result()
		assert.Equal(t, "done\n", out)
		assert.Zero(t, exit.Code)
	})
	t.Run("needs a container that runs", func(t *testing.T) {
		s := v.upgrade(strings.ReplaceAll(wire.PathExec, "{container}", "absent"), wire.Exec{})
		assert.Equal(t, http.StatusConflict, s.resp.StatusCode)
	})
	t.Run("sees volumes", func(t *testing.T) {
		assert.Equal(t, "one|deep|deep|-rw-------", v.output("app",
			`printf "%s|%s|%s|%s" $(cat /config/key) $(cat /config/dir/file) $(cat /etc/single) $(stat -Lc %A /config/key)`))
		assert.Equal(t, "refused\n", v.output("app", "echo x 2>/dev/null > /config/new || echo refused"))
		options := v.output("app", "cat /proc/fs/ext4/*/options")
		assert.Contains(t, options, "noinit_itable\n", "nobody fills the scratch disk in the background")
		assert.Equal(t, "full\n", v.output("app", "dd if=/dev/zero of=/mem/x bs=1024 count=2000 2>/dev/null || echo full"))
		assert.Equal(t, "drwxrwxrwx\n", v.output("app", "stat -c %A /data"))
		v.must("PUT", wire.PathFiles, wire.Files{Volume: "config", Files: []wire.File{{Path: "key", Mode: 0o600, Data: []byte("two")}}})
		assert.Equal(t, "two", v.output("app", "cat /config/key"))
	})
}

func TestEveryShortExecReportsItsCode(t *testing.T) {
	t.Parallel()
	v := idle(t, nil)
	const parallel, each = 4, 50
	began := time.Now()
	var wg sync.WaitGroup
	for p := range parallel {
		wg.Go(func() {
			for i := range each {
				code := (p*each + i) % 256
				out, _, exit := v.exec("app", wire.Exec{Args: []string{"sh", "-c", fmt.Sprintf("echo %d; exit %d", code, code)}}).result()
				assert.Equal(t, int32(code), exit.Code)
				assert.Equal(t, strconv.Itoa(code)+"\n", out)
			}
		})
	}
	wg.Wait()
	t.Logf("%d execs in %s", parallel*each, time.Since(began))
}

func TestALogIsComplete(t *testing.T) {
	t.Parallel()
	v := start(t, t.TempDir())
	v.configure(podOf("Never", "app"))
	v.run(sh("app", "seq 1 100000"))
	var want strings.Builder
	for i := range 100_000 {
		fmt.Fprintln(&want, i+1)
	}
	v.awaitState("app", wire.ContainerTerminated)
	got := v.log("app", 0)
	require.Len(t, got, want.Len(), "the log is complete")
	require.Equal(t, want.String()[:1000], got[:1000])

	path := strings.NewReplacer("{container}", "app", "{attempt}", "0").Replace(wire.PathLog)
	v.must("DELETE", path+"?offset=1000000", nil)
	resp, err := v.client.Get("http://guest" + path)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, "1000000", resp.Header.Get(wire.HeaderLogOffset))
	status, _ := v.call("GET", path+"?offset=999999999", nil, nil)
	require.Equal(t, http.StatusRequestedRangeNotSatisfiable, status)
	status, _ = v.call("GET", strings.Replace(path, "/0", "/1", 1), nil, nil)
	require.Equal(t, http.StatusNotFound, status)
}

func TestAHostThatDiesInAFrameIsReplaced(t *testing.T) {
	t.Parallel()
	v := start(t, t.TempDir())
	v.configure(podOf("Never", "app"))
	v.run(sh("app", "i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo $i; sleep 0.1; done"))
	var boot string
	for range 5 {
		v.awaitState("app", wire.ContainerRunning)
		s := v.exec("app", wire.Exec{Args: []string{"cat"}, Stdin: true})
		s.send(wire.FrameStdin, "hello")
		s.expect("hello")
		// Half a yamux frame, and nobody to say good-bye.
		_, err := v.stream.Write([]byte{0, 0, 0, 1, 0, 0})
		require.NoError(t, err)
		require.NoError(t, v.stream.Close())
		v.connect()
		var hello wire.Hello
		v.call("GET", wire.PathHello, nil, &hello)
		require.True(t, hello.Configured)
		if boot == "" {
			boot = hello.BootID
		}
		require.Equal(t, boot, hello.BootID)
	}
	st := v.awaitState("app", wire.ContainerTerminated)
	require.Zero(t, st.Current.ExitCode)
	require.Zero(t, st.RestartCount)
	require.Equal(t, 60, strings.Count(v.log("app", 0), "\n"))
}

func TestAttach(t *testing.T) {
	t.Parallel()
	v := idle(t, func(c *wire.Container) {
		c.Args = []string{"sh", "-c", "while read x; do echo got $x; done; echo end"}
		c.Stdin, c.StdinOnce = true, true
	})
	path := strings.ReplaceAll(wire.PathAttach, "{container}", "app")
	watcher := v.upgrade(path, wire.Attach{})
	writer := v.upgrade(path, wire.Attach{Stdin: true})
	writer.send(wire.FrameStdin, "first\n")
	writer.expect("got first\n")
	watcher.expect("got first\n")
	other := v.upgrade(path, wire.Attach{Stdin: true})
	other.send(wire.FrameStdin, "second\n")
	watcher.expect("got second\n")
	writer.expect("got second\n")
	writer.send(wire.FrameStdin, "third\n")
	watcher.expect("got third\n")
	writer.send(wire.FrameEOF, "")
	out, _, exit := watcher.result()
	assert.Equal(t, "end\n", out)
	assert.Zero(t, exit.Code)
	_, _, exit = writer.result()
	assert.Zero(t, exit.Code)
}

func TestAttachToATerminal(t *testing.T) {
	t.Parallel()
	v := idle(t, func(c *wire.Container) {
		c.Args, c.TTY, c.Stdin = []string{"sh"}, true, true
	})
	path := strings.ReplaceAll(wire.PathAttach, "{container}", "app")
	for i := range 2 {
		s := v.upgrade(path, wire.Attach{Stdin: true, Size: wire.TerminalSize{Columns: uint16(100 + i), Rows: 30}})
		s.send(wire.FrameStdin, "stty size\n")
		s.expect(fmt.Sprintf("30 %d\r\n", 100+i))
		require.NoError(t, s.conn.Close())
		v.awaitInput()
	}
	s := v.upgrade(path, wire.Attach{Stdin: true})
	s.send(wire.FrameStdin, "exit 6\n")
	_, _, exit := s.result()
	assert.Equal(t, int32(6), exit.Code)
}

// awaitInput waits until the guest has noticed that an attached host left: a call is answered after what came before it.
func (v *vm) awaitInput() {
	v.t.Helper()
	for range 3 {
		v.output("app", "true")
	}
}

func TestDial(t *testing.T) {
	t.Parallel()
	v := idle(t, func(c *wire.Container) {
		c.Args = []string{"sh", "-c", "while true; do nc -l -p 8080 -e sh -c 'cat; echo over'; done"}
	})
	dial := func() *stream {
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
			s := v.upgrade(wire.PathDial+"?port=8080", nil)
			if s.resp.StatusCode == http.StatusSwitchingProtocols {
				return s
			}
			<-time.After(50 * time.Millisecond)
		}
		require.Fail(t, "nobody listens")
		return nil
	}
	for range 3 {
		s := dial()
		s.send(wire.FrameStdin, "hello ")
		s.expect("hello ")
		s.send(wire.FrameEOF, "")
		s.expect("over\n")
		kind, _, err := wire.ReadFrame(s.r)
		require.NoError(t, err)
		require.Equal(t, wire.FrameEOF, kind)
		require.NoError(t, s.conn.Close())
	}
	s := v.upgrade(wire.PathDial+"?port=9", nil)
	require.Equal(t, http.StatusBadGateway, s.resp.StatusCode)
	s = v.upgrade(wire.PathDial+"?port=70000", nil)
	require.Equal(t, http.StatusBadRequest, s.resp.StatusCode)
}

func TestASnapshotIsAcknowledged(t *testing.T) {
	t.Parallel()
	v := idle(t, nil)
	var s wire.Snapshot
	v.call("GET", wire.PathSnapshot, nil, &s)
	require.NotEmpty(t, s.Events)
	boot, last := s.BootID, s.Events[len(s.Events)-1].Seq
	v.must("POST", wire.PathStop, wire.Stop{Grace: time.Second})
	// What it reports of the end comes in several steps, and not each has an event.
	for s.Phase != wire.PhaseDone {
		after := s.Generation
		s = wire.Snapshot{}
		v.call("GET", fmt.Sprintf("%s?boot=%s&after=%d&ack=%d", wire.PathSnapshot, boot, after, last), nil, &s)
		for _, e := range s.Events {
			require.Greater(t, e.Seq, last)
		}
	}
	require.NotEmpty(t, s.Events, "the end was reported")
}
