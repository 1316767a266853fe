package qmp_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/portlayer/qemu/qmp"
)

const greeting = `{"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}}, "capabilities": []}}` + "\n"

// request is one command as the peer sees it.
type request struct {
	Execute string         `json:"execute"`
	Args    map[string]any `json:"arguments"`
	ID      uint64         `json:"id"`
}

// peer is the other end of a client: it frames and orders as a test asks. What QEMU means is tested on QEMU.
type peer struct {
	t    *testing.T
	conn *net.UnixConn
	in   *bufio.Reader
}

func (p *peer) say(format string, args ...any) {
	_, err := fmt.Fprintf(p.conn, format, args...)
	require.NoError(p.t, err)
}

func (p *peer) hear() request {
	line, err := p.in.ReadBytes('\n')
	require.NoError(p.t, err)
	var r request
	require.NoError(p.t, json.Unmarshal(line, &r))
	return r
}

func pair(t *testing.T) (*net.UnixConn, *peer) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"})
	require.NoError(t, err)
	defer l.Close()
	conn, err := net.DialUnix("unix", nil, l.Addr().(*net.UnixAddr))
	require.NoError(t, err)
	far, err := l.AcceptUnix()
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(); _ = far.Close() })
	return conn, &peer{t, far, bufio.NewReader(far)}
}

func connect(t *testing.T, onEvent func(qmp.Event)) (*qmp.Client, *peer) {
	t.Helper()
	conn, p := pair(t)
	shaken := make(chan struct{})
	go func() { // ends after the handshake
		defer close(shaken)
		p.say(greeting)
		r := p.hear()
		assert.Equal(t, "qmp_capabilities", r.Execute)
		p.say(`{"return": {}, "id": %d}`+"\n", r.ID)
	}()
	c, err := qmp.New(t.Context(), conn, onEvent)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	<-shaken
	return c, p
}

func TestExecuteTakesItsOwnAnswerWhateverComesBetween(t *testing.T) {
	var mu sync.Mutex
	var events []string
	c, p := connect(t, func(e qmp.Event) {
		mu.Lock()
		defer mu.Unlock()
		events = append(events, e.Name)
	})
	go func() { // ends when both commands are answered, the second one first
		a, b := p.hear(), p.hear()
		p.say(`{"event": "STOP", "timestamp": {}}` + "\n")
		p.say(`{"return": {"cmd": %q}, "id": %d}`+"\r\n", b.Execute, b.ID)
		p.say(`{"return": {}, "id": 999}` + "\n" + `{"event": "RESUME", "data": {"x": 1}}` + "\n")
		whole := fmt.Sprintf(`{"return": {"cmd": %q}, "id": %d}`+"\n", a.Execute, a.ID)
		for _, part := range strings.SplitAfter(whole, ",") { // a frame in pieces
			p.say("%s", part)
		}
	}()
	var wg sync.WaitGroup
	for _, name := range []string{"query-a", "query-b"} {
		wg.Go(func() {
			var got struct{ Cmd string }
			if assert.NoError(t, c.Execute(t.Context(), qmp.Command{Name: name}, &got)) {
				assert.Equal(t, name, got.Cmd)
			}
		})
	}
	wg.Wait()
	mu.Lock()
	defer mu.Unlock()
	assert.Equal(t, []string{"STOP", "RESUME"}, events)
}

func TestExecuteReturnsWhatQEMURefused(t *testing.T) {
	c, p := connect(t, nil)
	go func() {
		r := p.hear()
		p.say(`{"error": {"class": "GenericError", "desc": "Device 'x' not found"}, "id": %d}`+"\n", r.ID)
	}()
	err := c.Execute(t.Context(), qmp.Command{Name: "device_del", Args: map[string]any{"id": "x"}}, nil)
	var refused *qmp.Error
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, "GenericError", refused.Class)
	assert.EqualError(t, err, "device_del: Device 'x' not found")
}

func TestExecuteFailsWhenQEMUGoesAway(t *testing.T) {
	tests := map[string]func(*peer){
		"by closing the connection":     func(p *peer) { _ = p.conn.Close() },
		"by sending what is not JSON":   func(p *peer) { p.say("{\n") },
		"by sending a line without end": func(p *peer) { _, _ = p.conn.Write([]byte(strings.Repeat("x", 5<<20))) },
	}
	for name, end := range tests {
		t.Run(name, func(t *testing.T) {
			c, p := connect(t, nil)
			go func() { p.hear(); end(p) }()
			require.ErrorIs(t, c.Execute(t.Context(), qmp.Command{Name: "query-status"}, nil), qmp.ErrClosed)
			<-c.Done()
			require.ErrorIs(t, c.Execute(t.Context(), qmp.Command{Name: "query-status"}, nil), qmp.ErrClosed)
			require.ErrorIs(t, c.Err(), qmp.ErrClosed)
		})
	}
}

func TestExecuteEndsWithItsContext(t *testing.T) {
	c, p := connect(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { p.hear(); cancel() }()
	require.ErrorIs(t, c.Execute(ctx, qmp.Command{Name: "query-status"}, nil), context.Canceled)
	go func() { r := p.hear(); p.say(`{"return": {}, "id": %d}`+"\n", r.ID) }()
	require.NoError(t, c.Execute(t.Context(), qmp.Command{Name: "query-status"}, nil), "the connection is still good")
}

func TestExecutePassesFiles(t *testing.T) {
	c, p := connect(t, nil)
	f, err := os.CreateTemp(t.TempDir(), "f")
	require.NoError(t, err)
	defer f.Close()
	got := make(chan int, 1)
	go func() {
		line, oob := make([]byte, 4096), make([]byte, 128)
		n, oobn, _, _, err := p.conn.ReadMsgUnix(line, oob)
		assert.NoError(t, err)
		got <- oobn
		var r request
		assert.NoError(t, json.Unmarshal(line[:n], &r))
		p.say(`{"return": {"fdset-id": 3}, "id": %d}`+"\n", r.ID)
	}()
	var set struct {
		ID int `json:"fdset-id"`
	}
	require.NoError(t, c.Execute(t.Context(), qmp.Command{Name: "add-fd", Files: []*os.File{f}}, &set))
	assert.Equal(t, 3, set.ID)
	assert.Positive(t, <-got)
}

func TestNewGivesUpOnASilentPeer(t *testing.T) {
	conn, _ := pair(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := qmp.New(ctx, conn, nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}
