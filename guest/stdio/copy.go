package stdio

import (
	"errors"
	"io"
	"os"
	"syscall"
	"time"
)

const (
	copyBytes = 32 << 10
	// grace is how long output is read after the process has ended, where a child of it keeps the stream open.
	grace = 500 * time.Millisecond
	// drainBytes bounds what is read after that: more than a pipe holds comes from another process.
	drainBytes = 1 << 20
)

// Copy writes what comes from src to dst until the end of src, or until a grace period after ended is closed and
// everything was read that was in src then. A failing dst does not end it: what follows is discarded, so that the
// process at the other end is not blocked.
func Copy(dst io.Writer, src *os.File, ended <-chan struct{}) {
	returned := make(chan struct{})
	defer close(returned)
	// Ends when Copy returns.
	go func() {
		select {
		case <-ended:
			_ = src.SetReadDeadline(time.Now().Add(grace)) // fails for a closed file, which Read sees too
		case <-returned:
		}
	}()
	buf := make([]byte, copyBytes)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			if _, err := dst.Write(buf[:n]); err != nil {
				dst = io.Discard
			}
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			drain(dst, src, buf)
			return
		}
		if err != nil { // io.EOF, or EIO of a terminal whose last process has left
			return
		}
	}
}

// drain reads what src holds without waiting: a slow dst may have let the deadline pass.
func drain(dst io.Writer, src *os.File, buf []byte) {
	conn, err := src.SyscallConn()
	if err != nil || src.SetReadDeadline(time.Time{}) != nil {
		return
	}
	for total := 0; total < drainBytes; {
		n := 0
		err := conn.Read(func(fd uintptr) bool {
			n, _ = syscall.Read(int(fd), buf) // an error ends the draining as an empty stream does
			return true
		})
		if err != nil || n <= 0 {
			return
		}
		if _, err := dst.Write(buf[:n]); err != nil {
			return
		}
		total += n
	}
}
