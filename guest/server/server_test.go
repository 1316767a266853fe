package server_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/crun"
	"github.com/virtual-kubelet/vic/guest/logfile"
	"github.com/virtual-kubelet/vic/guest/server"
	"github.com/virtual-kubelet/vic/guest/supervisor"
	"github.com/virtual-kubelet/vic/guest/volume"
	"github.com/virtual-kubelet/vic/guest/wire"
)

// fake is a VM whose every answer is err, and whose one container echoes its input.
type fake struct {
	err     error
	called  string
	log     *logfile.File
	session *session
}

func (f *fake) did(format string, args ...any) error {
	f.called = fmt.Sprintf(format, args...)
	return f.err
}

func (f *fake) NameBoot(id string) string  { _ = f.did("boot %s", id); return id }
func (f *fake) Hello() (wire.Hello, error) { return wire.Hello{BootID: "boot"}, f.did("hello") }
func (f *fake) Configure(_ context.Context, p wire.Pod) (wire.Ready, error) {
	return wire.Ready{}, f.did("pod %s", p.UID)
}
func (f *fake) PutFiles(v wire.Files) error                   { return f.did("files %s", v.Volume) }
func (f *fake) SetClock(t time.Time) error                    { return f.did("clock %d", t.Unix()) }
func (f *fake) PowerOff(context.Context)                      { _ = f.did("poweroff") }
func (f *fake) Run(_ context.Context, c wire.Container) error { return f.did("run %s", c.Name) }
func (f *fake) Stop(s wire.Stop)                              { _ = f.did("stop %s", s.Grace) }
func (f *fake) Stats() (wire.Stats, error)                    { return wire.Stats{}, f.did("stats") }
func (f *fake) Running(string) error                          { return f.err }
func (f *fake) Log(c string, attempt int32) (*logfile.File, error) {
	return f.log, f.did("log %s %d", c, attempt)
}

func (f *fake) Snapshot(_ context.Context, q supervisor.Query) ([]byte, error) {
	return []byte("{}"), f.did("snapshot %s %d %d", q.BootID, q.After, q.Ack)
}

func (f *fake) Exec(_ context.Context, c string, e wire.Exec, stdout, stderr io.Writer) (server.Session, error) {
	if e.Args[0] == "nosuch" {
		return nil, errors.New("no such program")
	}
	f.session = newSession(stdout, stderr)
	return f.session, f.did("exec %s %v", c, e.Args)
}

func (f *fake) Attach(c string, _ wire.Attach, stdout, stderr io.Writer) (server.Session, error) {
	f.session = newSession(stdout, stderr)
	return f.session, f.did("attach %s", c)
}

// session echoes its input to both outputs and ends with code 5 at its end.
type session struct {
	stdout, stderr io.Writer
	size           wire.TerminalSize
	ended, closed  chan struct{}
	end, leave     func()
}

func newSession(stdout, stderr io.Writer) *session {
	s := &session{stdout: stdout, stderr: stderr, ended: make(chan struct{}), closed: make(chan struct{})}
	s.end = sync.OnceFunc(func() { close(s.ended) })
	s.leave = sync.OnceFunc(func() { close(s.closed); s.end() })
	return s
}

func (s *session) Write(b []byte) (int, error) {
	_, _ = s.stderr.Write(bytes.ToUpper(b))
	return s.stdout.Write(b)
}

func (s *session) EndInput()                           { s.end() }
func (s *session) Resize(size wire.TerminalSize) error { s.size = size; return nil }
func (s *session) Exit() wire.Exit                     { <-s.ended; return wire.Exit{Code: 5} }
func (s *session) Close()                              { s.leave() }

func serve(t *testing.T, f *fake) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(server.New(server.Config{System: f, Containers: f, Streams: f, Usage: f}))
	t.Cleanup(srv.Close)
	return srv
}

func call(t *testing.T, srv *httptest.Server, method, path, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, strings.NewReader(body))
	require.NoError(t, err)
	resp, err := srv.Client().Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(b)
}

func TestCallsReachWhatTheyAreFor(t *testing.T) {
	tests := map[string]struct{ method, path, body, called string }{
		"hello":     {"GET", "/v1/hello", "", "hello"},
		"pod":       {"PUT", "/v1/pod", `{"uid":"u"}`, "pod u"},
		"files":     {"PUT", "/v1/files", `{"volume":"v"}`, "files v"},
		"container": {"PUT", "/v1/containers/app", `{"name":"app"}`, "run app"},
		"snapshot":  {"GET", "/v1/snapshot?boot=b&after=7&ack=3", "", "snapshot b 7 3"},
		"stop":      {"POST", "/v1/stop", `{"grace":1000000000}`, "stop 1s"},
		"clock":     {"PUT", "/v1/clock", `{"time":"2026-01-01T00:00:00Z"}`, "clock 1767225600"},
		"stats":     {"GET", "/v1/stats", "", "stats"},
		"power off": {"POST", "/v1/poweroff", "", "poweroff"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := &fake{}
			status, body := call(t, serve(t, f), tt.method, tt.path, tt.body)
			assert.Less(t, status, 300, body)
			assert.Equal(t, tt.called, f.called)
		})
	}
}

func TestErrorsHaveTheirStatus(t *testing.T) {
	tests := map[string]struct {
		err    error
		status int
	}{
		"not valid":          {supervisor.ErrInvalid, 400},
		"a path not valid":   {volume.ErrInvalid, 400},
		"no container":       {supervisor.ErrNotFound, 404},
		"no volume":          {volume.ErrNotFound, 404},
		"no log":             {logfile.ErrNotFound, 404},
		"a conflict":         {supervisor.ErrConflict, 409},
		"not running":        {crun.ErrNotRunning, 409},
		"busy":               {crun.ErrBusy, 429},
		"beyond a log's end": {logfile.ErrBeyondEnd, 416},
		"anything else":      {errors.New("disk on fire"), 500},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			status, body := call(t, serve(t, &fake{err: fmt.Errorf("wrapped: %w", tt.err)}), "PUT", "/v1/pod", "{}")
			assert.Equal(t, tt.status, status)
			assert.Contains(t, body, tt.err.Error())
		})
	}
}

func TestCallsThatAreNotValid(t *testing.T) {
	tests := map[string]struct {
		method, path, body string
		status             int
	}{
		"a body that is not JSON":           {"PUT", "/v1/pod", "{", 400},
		"a body that is too large":          {"PUT", "/v1/pod", `{"uid":"` + strings.Repeat("x", wire.MaxBodyBytes) + `"}`, 413},
		"a container under another name":    {"PUT", "/v1/containers/app", `{"name":"other"}`, 400},
		"a generation that is not a number": {"GET", "/v1/snapshot?after=x", "", 400},
		"an attempt that is not a number":   {"GET", "/v1/containers/app/log/x", "", 400},
		"an offset below zero":              {"GET", "/v1/containers/app/log/0?offset=-1", "", 400},
		"an exec without upgrade":           {"POST", "/v1/containers/app/exec", "", 400},
		"a port that is none":               {"POST", "/v1/dial?port=0", "", 400},
		"a path that is none":               {"GET", "/v1/other", "", 404},
		"a method that is none":             {"DELETE", "/v1/pod", "", 405},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			status, _ := call(t, serve(t, &fake{}), tt.method, tt.path, tt.body)
			assert.Equal(t, tt.status, status)
		})
	}
}

func TestLog(t *testing.T) {
	l, err := logfile.Open(filepath.Join(t.TempDir(), "log"), wire.MaxLogBytes)
	require.NoError(t, err)
	w := l.Writer(logfile.Stdout)
	_, _ = w.Write([]byte("first\n"))
	first := l.Size()
	_, _ = w.Write([]byte("second\n"))
	srv := serve(t, &fake{log: l})

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/v1/containers/app/log/3", nil)
	require.NoError(t, err)
	resp, err := srv.Client().Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, "0", resp.Header.Get(wire.HeaderLogOffset))
	r := bufio.NewReader(resp.Body)
	for _, want := range []string{"first\n", "second\n", "third\n"} {
		if want == "third\n" {
			_, _ = w.Write([]byte(want))
			l.End()
		}
		line, err := r.ReadString('\n')
		require.NoError(t, err)
		require.True(t, strings.HasSuffix(line, "stdout F "+want), line)
	}
	_, err = r.ReadByte()
	require.ErrorIs(t, err, io.EOF)

	status, _ := call(t, srv, "DELETE", fmt.Sprintf("/v1/containers/app/log/3?offset=%d", first), "")
	require.Equal(t, 200, status)
	_, text := call(t, srv, "GET", "/v1/containers/app/log/3", "")
	require.Equal(t, 2, strings.Count(text, "\n"))
}

func TestALogThatOvertakesItsReaderEndsWithoutItsEnd(t *testing.T) {
	l, err := logfile.Open(filepath.Join(t.TempDir(), "log"), 100<<10)
	require.NoError(t, err)
	w := l.Writer(logfile.Stdout)
	_, _ = w.Write([]byte("begin\n"))
	srv := serve(t, &fake{log: l})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/v1/containers/app/log/0", nil)
	require.NoError(t, err)
	resp, err := srv.Client().Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	line := []byte(strings.Repeat("x", 10_000) + "\n")
	for range 5000 { // more than the connection's buffers take
		_, _ = w.Write(line)
	}
	l.End()
	_, err = io.Copy(io.Discard, resp.Body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

// upgrade opens a connection of frames.
func upgrade(t *testing.T, srv *httptest.Server, path string, first any) (net.Conn, *bufio.Reader, *wire.FrameWriter) {
	t.Helper()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", path, wire.UpgradeProtocol)
	require.NoError(t, err)
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil) //nolint:bodyclose // the body is the stream
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
	w := wire.NewFrameWriter(conn)
	b, err := json.Marshal(first)
	require.NoError(t, err)
	require.NoError(t, w.Frame(wire.FrameStart, b))
	return conn, r, w
}

func requireFrame(t *testing.T, r io.Reader, kind wire.FrameType, payload string) {
	t.Helper()
	k, b, err := wire.ReadFrame(r)
	require.NoError(t, err)
	require.Equal(t, kind, k)
	require.Equal(t, payload, string(b))
}

func TestASessionPassesFramesOn(t *testing.T) {
	for name, path := range map[string]string{"exec": "/v1/containers/app/exec", "attach": "/v1/containers/app/attach"} {
		t.Run(name, func(t *testing.T) {
			f := &fake{}
			_, r, w := upgrade(t, serve(t, f), path, wire.Exec{Args: []string{"sh"}})
			require.NoError(t, w.Frame(wire.FrameResize, []byte(`{"columns":3,"rows":4}`)))
			require.NoError(t, w.Frame(wire.FrameStdin, []byte("hello")))
			requireFrame(t, r, wire.FrameStderr, "HELLO")
			requireFrame(t, r, wire.FrameStdout, "hello")
			require.NoError(t, w.Frame(wire.FrameEOF, nil))
			requireFrame(t, r, wire.FrameExit, `{"code":5}`)
			_, _, err := wire.ReadFrame(r)
			require.ErrorIs(t, err, io.EOF)
			require.Equal(t, wire.TerminalSize{Columns: 3, Rows: 4}, f.session.size)
		})
	}
}

func TestASessionIsClosedWhenTheHostLeavesOrLies(t *testing.T) {
	tests := map[string]func(net.Conn, *wire.FrameWriter){
		"by closing its connection":   func(c net.Conn, _ *wire.FrameWriter) { _ = c.Close() },
		"by a frame of the guest's":   func(_ net.Conn, w *wire.FrameWriter) { _ = w.Frame(wire.FrameStdout, nil) },
		"by a frame that is too long": func(c net.Conn, _ *wire.FrameWriter) { _, _ = c.Write([]byte{2, 0xff, 0, 0, 0}) },
	}
	for name, leave := range tests {
		t.Run(name, func(t *testing.T) {
			f := &fake{}
			conn, r, w := upgrade(t, serve(t, f), "/v1/containers/app/exec", wire.Exec{Args: []string{"sh"}})
			require.NoError(t, w.Frame(wire.FrameStdin, []byte("x")))
			requireFrame(t, r, wire.FrameStderr, "X")
			leave(conn, w)
			select {
			case <-f.session.closed:
			case <-time.After(10 * time.Second):
				require.Fail(t, "the session goes on")
			}
		})
	}
}

func TestAnExecThatDoesNotStartSaysWhy(t *testing.T) {
	_, r, _ := upgrade(t, serve(t, &fake{}), "/v1/containers/app/exec", wire.Exec{Args: []string{"nosuch"}})
	requireFrame(t, r, wire.FrameExit, `{"code":126,"error":"no such program"}`)
	_, r, _ = upgrade(t, serve(t, &fake{}), "/v1/containers/app/exec", wire.Exec{})
	requireFrame(t, r, wire.FrameExit, `{"code":126,"error":"call is not valid: there is no command"}`)
}

func TestDial(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b, _ := io.ReadAll(c) // to the half-close
			_, _ = c.Write(append(b, " back"...))
			_ = c.Close()
		}
	}()
	srv := serve(t, &fake{})
	_, r, w := upgrade(t, srv, fmt.Sprintf("/v1/dial?port=%d", l.Addr().(*net.TCPAddr).Port), struct{}{})
	require.NoError(t, w.Frame(wire.FrameStdin, []byte("there and")))
	require.NoError(t, w.Frame(wire.FrameEOF, nil))
	requireFrame(t, r, wire.FrameStdout, "there and back")
	requireFrame(t, r, wire.FrameEOF, "")
	_, _, err = wire.ReadFrame(r)
	require.ErrorIs(t, err, io.EOF)
}

func TestDialOfAPortThatNobodyListensOn(t *testing.T) {
	srv := serve(t, &fake{})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+"/v1/dial?port=1", nil)
	require.NoError(t, err)
	req.Header.Set("Upgrade", wire.UpgradeProtocol)
	resp, err := srv.Client().Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusBadGateway, resp.StatusCode)
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Contains(t, string(b), "failed to connect to localhost:1 inside the pod VM, IPv4: dial tcp4 127.0.0.1:1: connect: connection refused, IPv6: ")
}
