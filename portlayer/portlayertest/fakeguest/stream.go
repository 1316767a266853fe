package fakeguest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net"
	"net/http"
	"strconv"

	"github.com/virtual-kubelet/vic/guest/wire"
)

func splitLines(b []byte) iter.Seq[[]byte] {
	return bytes.SplitSeq(bytes.TrimSuffix(b, []byte{'\n'}), []byte{'\n'})
}

func (g *Guest) logOf(r *http.Request) (*attemptLog, int64) {
	attempt, err := strconv.ParseInt(r.PathValue("attempt"), 10, 32)
	offset, errOffset := strconv.ParseInt(r.URL.Query().Get("offset"), 10, 64)
	if err != nil || errOffset != nil {
		return nil, 0
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.findLocked(r.PathValue("container"))
	if c == nil {
		return nil, 0
	}
	return c.logs[int32(attempt)], offset
}

func (g *Guest) getLog(w http.ResponseWriter, r *http.Request) {
	log, offset := g.logOf(r)
	if log == nil {
		http.Error(w, "no such log", http.StatusNotFound)
		return
	}
	_, start, _, _ := log.from(offset)
	w.Header().Set(wire.HeaderLogOffset, strconv.FormatInt(start, 10))
	w.WriteHeader(http.StatusOK)
	for {
		b, from, ended, changed := log.from(start)
		if _, err := w.Write(b); err != nil {
			return
		}
		start = from + int64(len(b))
		if ended {
			return
		}
		w.(http.Flusher).Flush()
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		case <-g.ended:
			panic(http.ErrAbortHandler)
		}
	}
}

func (g *Guest) deleteLog(w http.ResponseWriter, r *http.Request) {
	log, offset := g.logOf(r)
	if log == nil {
		http.Error(w, "no such log", http.StatusNotFound)
		return
	}
	log.free(offset)
}

// upgrade turns the connection into one of frames.
func upgrade(w http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return nil, nil, err
	}
	_, err = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " +
		wire.UpgradeProtocol + "\r\n\r\n")
	return conn, rw, errors.Join(err, rw.Flush())
}

func (g *Guest) running(name string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.findLocked(name)
	return c != nil && c.status.State == wire.ContainerRunning
}

func (g *Guest) postExec(w http.ResponseWriter, r *http.Request) {
	if !g.running(r.PathValue("container")) {
		http.Error(w, "container does not run", http.StatusConflict)
		return
	}
	conn, rw, err := upgrade(w)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }() // the host has its exit, or is gone
	var exec wire.Exec
	if kind, b, err := wire.ReadFrame(rw); err != nil || kind != wire.FrameStart || json.Unmarshal(b, &exec) != nil {
		return
	}
	frames := wire.NewFrameWriter(conn)
	stdin, stop := receive(rw.Reader, frames)
	streams := stdio{out: frames.Stream(wire.FrameStdout), err: frames.Stream(wire.FrameStderr)}
	if exec.Stdin {
		streams.in = stdin
	}
	exit := wire.Exit{Code: run(exec.Args, streams, stop)}
	if exit.Code == 127 {
		exit.Error = "no such file"
	}
	sendExit(frames, exit)
}

func (g *Guest) postAttach(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	c := g.findLocked(r.PathValue("container"))
	if c == nil || c.stop == nil {
		g.mu.Unlock()
		http.Error(w, "container does not run", http.StatusConflict)
		return
	}
	log, stdin, attempt := c.logs[c.status.RestartCount], c.stdin, c.status.RestartCount
	g.mu.Unlock()
	conn, rw, err := upgrade(w)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }() // the host has its exit, or is gone
	frames := wire.NewFrameWriter(conn)
	f := &fan{out: frames.Stream(wire.FrameStdout), err: frames.Stream(wire.FrameStderr)}
	g.mu.Lock()
	c.fans[f] = struct{}{}
	g.mu.Unlock()
	if _, _, err := wire.ReadFrame(rw); err != nil {
		return
	}
	in, gone := receive(rw.Reader, frames)
	// Ends with the host's stdin or the container's.
	go func() {
		_, _ = io.Copy(stdin, in) // a container that ended reads no more
		_ = stdin.Close()         // a pipe's Close never fails
	}()
	log.wait(gone)
	g.mu.Lock()
	delete(c.fans, f)
	g.mu.Unlock()
	sendExit(frames, wire.Exit{Code: c.exitCode(attempt)})
}

// wait returns when the attempt has ended or its host is gone.
func (l *attemptLog) wait(gone <-chan struct{}) {
	for {
		_, _, ended, changed := l.from(0)
		if ended {
			return
		}
		select {
		case <-changed:
		case <-gone:
			return
		}
	}
}

func (c *container) exitCode(attempt int32) int32 {
	c.guest.mu.Lock()
	defer c.guest.mu.Unlock()
	for _, t := range []*wire.Terminated{c.status.Current, c.status.Last} {
		if t != nil && t.Attempt == attempt {
			return t.ExitCode
		}
	}
	return 0
}

// postDial echoes what it gets, in place of a server in the pod; port 1 is closed.
func (g *Guest) postDial(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("port") == "1" {
		http.Error(w, "connection refused", http.StatusBadGateway)
		return
	}
	conn, rw, err := upgrade(w)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }() // everything was sent
	if kind, _, err := wire.ReadFrame(rw); err != nil || kind != wire.FrameStart {
		return
	}
	frames := wire.NewFrameWriter(conn)
	in, _ := receive(rw.Reader, frames)
	_, _ = io.Copy(frames.Stream(wire.FrameStdout), in) // the host is gone when it fails
	_ = frames.Frame(wire.FrameEOF, nil)                // the same
}

func sendExit(frames *wire.FrameWriter, exit wire.Exit) {
	b, err := json.Marshal(exit)
	if err != nil {
		return
	}
	_ = frames.Frame(wire.FrameExit, b) // the host is gone when it fails
}

// receive passes on the host's stdin, answers a new terminal size with a line on stdout, and closes gone when the host
// is gone.
func receive(r *bufio.Reader, frames *wire.FrameWriter) (stdin io.Reader, gone <-chan struct{}) {
	in, w := io.Pipe()
	end := make(chan struct{})
	// Ends with the connection.
	go func() {
		defer close(end)
		defer func() { _ = w.Close() }() // a pipe's Close never fails
		for {
			kind, payload, err := wire.ReadFrame(r)
			if err != nil {
				return
			}
			switch kind {
			case wire.FrameStdin:
				_, _ = w.Write(payload) // whoever does not read it loses it
			case wire.FrameEOF:
				_ = w.Close() // a pipe's Close never fails
			case wire.FrameResize:
				_ = frames.Frame(wire.FrameStdout, append(payload, '\n')) // the host is gone when it fails
			case wire.FrameStart, wire.FrameStdout, wire.FrameStderr, wire.FrameExit:
				return
			}
		}
	}()
	return in, end
}
