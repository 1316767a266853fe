package wire

import (
	"bufio"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
)

// magic begins every preamble. It is a random constant, and no prefix of it stands again inside it.
var magic = [32]byte{
	0xf6, 0x1d, 0x0b, 0x9c, 0x52, 0xe8, 0x73, 0xa4, 0x3e, 0xd7, 0x88, 0x45, 0xc1, 0x6a, 0x2f, 0xb0,
	0x97, 0x04, 0xdb, 0x61, 0xae, 0x38, 0x15, 0xcf, 0x7c, 0x29, 0xe3, 0x56, 0xba, 0x8d, 0x40, 0x12,
}

const (
	nonceBytes    = 16
	preambleBytes = len(magic) + 2 + nonceBytes
	// echoLimit bounds what a host discards before it gives up on finding the echo.
	echoLimit = 64 << 20
)

// ErrVersion says that the other side speaks another version of the protocol.
var ErrVersion = errors.New("guest protocol version differs")

// Preamble is what begins a host connection.
type Preamble struct {
	Version uint16
	Nonce   [nonceBytes]byte
}

func (p Preamble) bytes() []byte {
	b := make([]byte, 0, preambleBytes)
	b = append(b, magic[:]...)
	b = binary.BigEndian.AppendUint16(b, p.Version)
	return append(b, p.Nonce[:]...)
}

// Connect is the host's half: it sends a preamble with fresh random bytes, discards everything up to its echo, and
// returns the stream behind it. Closing the result closes stream. Connect blocks on stream; the caller bounds it by
// closing stream.
func Connect(stream io.ReadWriteCloser) (io.ReadWriteCloser, error) {
	p := Preamble{Version: Version}
	if _, err := rand.Read(p.Nonce[:]); err != nil {
		return nil, fmt.Errorf("read random bytes: %w", err)
	}
	if _, err := stream.Write(p.bytes()); err != nil {
		return nil, fmt.Errorf("send preamble: %w", err)
	}
	r := bufio.NewReaderSize(stream, MaxFrameBytes)
	var m matcher
	for range echoLimit {
		b, err := r.ReadByte()
		if err != nil {
			return nil, fmt.Errorf("wait for the preamble's echo: %w", err)
		}
		echo, ok := m.next(b)
		switch {
		case !ok || echo.Nonce != p.Nonce:
			continue
		case echo.Version != Version:
			return nil, fmt.Errorf("%w: guest has %d, host has %d", ErrVersion, echo.Version, Version)
		}
		return &hostStream{Reader: r, stream: stream, mask: mask{nonce: p.Nonce}}, nil
	}
	return nil, fmt.Errorf("no echo of the preamble within %d bytes", echoLimit)
}

// hostStream masks what the host sends.
type hostStream struct {
	io.Reader
	stream io.ReadWriteCloser

	mu   sync.Mutex // guards mask and the order of writes
	mask mask
}

func (s *hostStream) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	masked := make([]byte, len(b))
	s.mask.apply(masked, b)
	return s.stream.Write(masked)
}

func (s *hostStream) Close() error { return s.stream.Close() }

// Accept is the guest's half: it reads port until port fails, and hands each host connection that a preamble begins to
// session, on a goroutine of its own. The connection before it is closed first: its reads answer io.EOF and its writes
// io.ErrClosedPipe. Bytes outside a session are dropped. Accept returns port's error.
func Accept(port io.ReadWriter, session func(io.ReadWriteCloser)) error {
	a := &acceptor{port: port}
	defer a.drop()
	buf := make([]byte, MaxFrameBytes)
	for {
		n, err := port.Read(buf)
		if n > 0 {
			if err := a.feed(buf[:n], session); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}

type acceptor struct {
	port io.ReadWriter
	m    matcher

	writing sync.Mutex // guards writes to port and current
	current *guestStream
}

// feed passes b to the current session and starts another where b completes a preamble. Bytes are passed on at once:
// those of a preamble's beginning reach a session that ends with it.
func (a *acceptor) feed(b []byte, session func(io.ReadWriteCloser)) error {
	start := 0
	for i := range b {
		p, ok := a.m.next(b[i])
		if !ok {
			continue
		}
		start = i + 1
		if err := a.begin(p, session); err != nil {
			return err
		}
	}
	a.writing.Lock()
	current := a.current
	a.writing.Unlock()
	if current != nil && start < len(b) {
		current.receive(b[start:])
	}
	return nil
}

func (a *acceptor) begin(p Preamble, session func(io.ReadWriteCloser)) error {
	a.drop()
	a.writing.Lock()
	defer a.writing.Unlock()
	if _, err := a.port.Write((Preamble{Version: Version, Nonce: p.Nonce}).bytes()); err != nil {
		return fmt.Errorf("echo preamble: %w", err)
	}
	if p.Version != Version {
		return nil
	}
	s := &guestStream{acceptor: a, mask: mask{nonce: p.Nonce}}
	s.reader, s.writer = io.Pipe()
	a.current = s
	// Ends when the session's handler returns; drop makes its stream fail.
	go session(s)
	return nil
}

// drop ends the current session, if there is one.
func (a *acceptor) drop() {
	a.writing.Lock()
	s := a.current
	a.current = nil
	a.writing.Unlock()
	if s != nil {
		_ = s.writer.Close() // a pipe's Close never fails
	}
}

// guestStream is one host connection in the guest.
type guestStream struct {
	acceptor *acceptor
	mask     mask // used by receive alone
	reader   *io.PipeReader
	writer   *io.PipeWriter
}

// receive unmasks b and waits until the session has read it; a session that was closed loses it.
func (s *guestStream) receive(b []byte) {
	plain := make([]byte, len(b))
	s.mask.apply(plain, b)
	_, _ = s.writer.Write(plain) // fails only when the session has closed its end
}

func (s *guestStream) Read(b []byte) (int, error) { return s.reader.Read(b) }

func (s *guestStream) Write(b []byte) (int, error) {
	s.acceptor.writing.Lock()
	defer s.acceptor.writing.Unlock()
	if s.acceptor.current != s {
		return 0, io.ErrClosedPipe
	}
	return s.acceptor.port.Write(b)
}

// Close ends the session but not the port.
func (s *guestStream) Close() error {
	s.acceptor.writing.Lock()
	if s.acceptor.current == s {
		s.acceptor.current = nil
	}
	s.acceptor.writing.Unlock()
	return s.reader.Close()
}

// mask is the sequence of a preamble's random bytes, repeated; it is its own inverse.
type mask struct {
	nonce [nonceBytes]byte
	at    int
}

func (m *mask) apply(dst, src []byte) {
	for i, b := range src {
		dst[i] = b ^ m.nonce[m.at]
		m.at = (m.at + 1) % nonceBytes
	}
}

// matcher finds preambles in a stream, a byte at a time. It looks for the magic word also inside what may be a preamble:
// a host that died while it wrote one is followed by another.
type matcher struct {
	matched int    // bytes of magic seen
	tail    []byte // what followed the latest magic; nil where there was none
}

// next takes one byte and returns the preamble that it completes.
func (m *matcher) next(b byte) (Preamble, bool) {
	if m.tail != nil {
		m.tail = append(m.tail, b)
	}
	switch b {
	case magic[m.matched]:
		m.matched++
	case magic[0]:
		m.matched = 1
	default:
		m.matched = 0
	}
	if m.matched == len(magic) {
		m.matched, m.tail = 0, make([]byte, 0, preambleBytes-len(magic))
		return Preamble{}, false
	}
	if m.tail == nil || len(m.tail) < preambleBytes-len(magic) {
		return Preamble{}, false
	}
	p := Preamble{Version: binary.BigEndian.Uint16(m.tail)}
	copy(p.Nonce[:], m.tail[2:])
	m.tail = nil
	return p, true
}
