package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
)

// FrameType says what a frame's payload is.
type FrameType byte

// The frame types of an upgraded connection.
const (
	FrameStart  FrameType = 1 // host: JSON of Exec or Attach, first of all; empty for PathDial
	FrameStdin  FrameType = 2 // host: bytes
	FrameStdout FrameType = 3 // guest: bytes
	FrameStderr FrameType = 4 // guest: bytes
	FrameResize FrameType = 5 // host: JSON of TerminalSize
	FrameEOF    FrameType = 6 // either: no more FrameStdin (from the host) or FrameStdout (from the guest)
	FrameExit   FrameType = 7 // guest: JSON of Exit, last of all
)

// ErrFrameTooLong says that a frame claims more than MaxFrameBytes.
var ErrFrameTooLong = errors.New("frame too long")

const frameHeaderBytes = 5 // type, then length as four bytes, big-endian

// Exec is the first frame of PathExec.
type Exec struct {
	Args  []string     `json:"args"`
	TTY   bool         `json:"tty,omitempty"`
	Stdin bool         `json:"stdin,omitempty"`
	Size  TerminalSize `json:"size,omitzero"`
}

// Attach is the first frame of PathAttach.
type Attach struct {
	Stdin bool         `json:"stdin,omitempty"`
	Size  TerminalSize `json:"size,omitzero"`
}

// TerminalSize is in characters; zero leaves it as it is.
type TerminalSize struct {
	Columns uint16 `json:"columns"`
	Rows    uint16 `json:"rows"`
}

// Exit is the last frame of PathExec and PathAttach.
type Exit struct {
	Code int32 `json:"code"`
	// Error is set when the process could not run, and Code is then 126 or 127 as a shell has them.
	Error string `json:"error,omitempty"`
}

// FrameWriter writes frames; it is safe for concurrent use.
type FrameWriter struct {
	mu sync.Mutex // guards w
	w  io.Writer
}

// NewFrameWriter returns a FrameWriter over w.
func NewFrameWriter(w io.Writer) *FrameWriter { return &FrameWriter{w: w} }

// Frame writes payload as frames of type t, as many as its length needs, and one where it is empty.
func (w *FrameWriter) Frame(t FrameType, payload []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		n := min(len(payload), MaxFrameBytes)
		b := make([]byte, 0, frameHeaderBytes+n)
		b = append(b, byte(t))
		b = binary.BigEndian.AppendUint32(b, uint32(n))
		b = append(b, payload[:n]...)
		if _, err := w.w.Write(b); err != nil {
			return fmt.Errorf("write frame: %w", err)
		}
		if payload = payload[n:]; len(payload) == 0 {
			return nil
		}
	}
}

// Stream returns an io.Writer whose writes become frames of type t.
func (w *FrameWriter) Stream(t FrameType) io.Writer { return frameStream{w, t} }

type frameStream struct {
	w *FrameWriter
	t FrameType
}

func (s frameStream) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if err := s.w.Frame(s.t, b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// ReadFrame reads one frame. It returns io.EOF at the end of r, ErrFrameTooLong before it reads a payload that is too
// long, and io.ErrUnexpectedEOF where r ends inside a frame.
func ReadFrame(r io.Reader) (FrameType, []byte, error) {
	var h [frameHeaderBytes]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(h[1:])
	if n > MaxFrameBytes {
		return 0, nil, fmt.Errorf("%w: %d bytes", ErrFrameTooLong, n)
	}
	payload := make([]byte, n)
	if _, err := io.ReadFull(r, payload); err != nil {
		return 0, nil, errors.Join(io.ErrUnexpectedEOF, err)
	}
	return FrameType(h[0]), payload, nil
}
