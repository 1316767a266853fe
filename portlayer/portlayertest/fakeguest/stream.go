package fakeguest

import (
	"bufio"
	"bytes"
	"context"
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
	return g.findLog(r.PathValue("container"), int32(attempt)), offset
}

func (g *Guest) getLog(w http.ResponseWriter, r *http.Request) {
	log, offset := g.logOf(r)
	if log == nil {
		http.Error(w, "no such log", http.StatusNotFound)
		return
	}
	start := log.from(offset).Start
	w.Header().Set(wire.HeaderLogOffset, strconv.FormatInt(start, 10))
	w.WriteHeader(http.StatusOK)
	for {
		part := log.from(start)
		if _, err := w.Write(part.Lines); err != nil {
			return
		}
		start = part.Next()
		if part.Ended {
			return
		}
		w.(http.Flusher).Flush()
		select {
		case <-part.Changed:
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

func (g *Guest) postExec(w http.ResponseWriter, r *http.Request) {
	container := r.PathValue("container")
	if err := g.checkRuns(container); err != nil {
		answer(w, nil, err)
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
	ctx, stdio := receive(r.Context(), rw.Reader, frames)
	exit, err := g.Exec(ctx, container, exec, stdio)
	sendExit(frames, exit, err)
}

func (g *Guest) postAttach(w http.ResponseWriter, r *http.Request) {
	a, err := g.attachment(r.PathValue("container"))
	if err != nil {
		answer(w, nil, err)
		return
	}
	conn, rw, err := upgrade(w)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }() // the host has its exit, or is gone
	if _, _, err := wire.ReadFrame(rw); err != nil {
		return
	}
	frames := wire.NewFrameWriter(conn)
	ctx, stdio := receive(r.Context(), rw.Reader, frames)
	exit, err := a.serve(ctx, stdio)
	sendExit(frames, exit, err)
}

func (g *Guest) postDial(w http.ResponseWriter, r *http.Request) {
	port, err := strconv.ParseUint(r.URL.Query().Get("port"), 10, 16)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	server, err := g.Dial(r.Context(), uint16(port))
	if err != nil {
		answer(w, nil, err)
		return
	}
	defer func() { _ = server.Close() }() // a pipe's Close never fails
	conn, rw, err := upgrade(w)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }() // everything was sent
	if kind, _, err := wire.ReadFrame(rw); err != nil || kind != wire.FrameStart {
		return
	}
	frames := wire.NewFrameWriter(conn)
	_, stdio := receive(r.Context(), rw.Reader, frames)
	// Ends with what the host sends, or with server.
	go func() {
		_, _ = io.Copy(server, stdio.In) // the host is gone when it fails
		_ = server.CloseWrite()          // a pipe's Close never fails
	}()
	_, _ = io.Copy(stdio.Out, server)    // the host is gone when it fails
	_ = frames.Frame(wire.FrameEOF, nil) // the same
}

// sendExit says how a process ended; a connection that closes without that says that it broke off.
func sendExit(frames *wire.FrameWriter, exit wire.Exit, err error) {
	if err != nil {
		return
	}
	b, err := json.Marshal(exit)
	if err != nil {
		return
	}
	_ = frames.Frame(wire.FrameExit, b) // the host is gone when it fails
}

// receive passes on the host's stdin and answers a new terminal size with a line on stdout. The context that it returns
// ends with ctx, and when the host is gone.
func receive(ctx context.Context, r *bufio.Reader, frames *wire.FrameWriter) (context.Context, Stdio) {
	ctx, end := context.WithCancel(ctx)
	in, w := io.Pipe()
	context.AfterFunc(ctx, func() { _ = in.Close() }) // a pipe's Close never fails
	// Ends with the connection.
	go func() {
		defer end()
		defer func() { _ = w.Close() }() // the same
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
	return ctx, Stdio{In: in, Out: frames.Stream(wire.FrameStdout), Err: frames.Stream(wire.FrameStderr)}
}
