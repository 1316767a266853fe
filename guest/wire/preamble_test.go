package wire_test

import (
	"bytes"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// echoing runs a guest on one end of a pipe that returns each session's bytes, and answers the other end.
func echoing(t *testing.T) net.Conn {
	t.Helper()
	host, port := net.Pipe()
	t.Cleanup(func() { _ = host.Close() })
	go func() {
		_ = wire.Accept(port, func(s io.ReadWriteCloser) { _, _ = io.Copy(s, s) })
	}()
	return host
}

func requireEcho(t *testing.T, c io.ReadWriter, payload []byte) {
	t.Helper()
	go func() { _, _ = c.Write(payload) }()
	got := make([]byte, len(payload))
	_, err := io.ReadFull(c, got)
	require.NoError(t, err)
	require.Equal(t, payload, got)
}

func TestConnectFindsItsSession(t *testing.T) {
	payload := bytes.Repeat([]byte("0123456789"), 20_000)
	tests := map[string]func(t *testing.T, port net.Conn){
		"on a fresh port": func(*testing.T, net.Conn) {},
		"after noise": func(t *testing.T, port net.Conn) {
			_, err := port.Write(bytes.Repeat([]byte{0xf6, 0x1d, 0}, 100))
			require.NoError(t, err)
		},
		"after a host that died inside a frame": func(t *testing.T, port net.Conn) {
			c, err := wire.Connect(nopCloser{port})
			require.NoError(t, err)
			requireEcho(t, c, []byte("half a fra"))
		},
		"after a host that died inside its preamble": func(t *testing.T, port net.Conn) {
			first := &recorder{}
			_, err := wire.Connect(first)
			require.Error(t, err)
			for n := range len(first.sent) {
				_, err := port.Write(first.sent[:n])
				require.NoError(t, err)
				c, err := wire.Connect(nopCloser{port})
				require.NoError(t, err)
				requireEcho(t, c, []byte("after"))
			}
		},
	}
	for name, before := range tests {
		t.Run(name, func(t *testing.T) {
			port := echoing(t)
			before(t, port)
			c, err := wire.Connect(port)
			require.NoError(t, err)
			requireEcho(t, c, payload)
		})
	}
}

func TestPayloadThatLooksLikeAPreambleStaysInItsSession(t *testing.T) {
	first := &recorder{}
	_, err := wire.Connect(first)
	require.ErrorIs(t, err, io.EOF)

	host, port := net.Pipe()
	t.Cleanup(func() { _ = host.Close() })
	var sessions atomic.Int32
	go func() {
		_ = wire.Accept(port, func(s io.ReadWriteCloser) {
			sessions.Add(1)
			_, _ = io.Copy(s, s)
		})
	}()
	c, err := wire.Connect(host)
	require.NoError(t, err)
	// What comes back proves nothing by itself: the echo of a preamble is the preamble.
	requireEcho(t, c, first.sent)
	requireEcho(t, c, []byte("and on"))
	require.EqualValues(t, 1, sessions.Load())
}

func TestFrames(t *testing.T) {
	var b bytes.Buffer
	w := wire.NewFrameWriter(&b)
	long := bytes.Repeat([]byte{7}, wire.MaxFrameBytes+1)
	require.NoError(t, w.Frame(wire.FrameEOF, nil))
	_, err := w.Stream(wire.FrameStdout).Write(long)
	require.NoError(t, err)

	kind, payload, err := wire.ReadFrame(&b)
	require.NoError(t, err)
	require.Equal(t, wire.FrameEOF, kind)
	require.Empty(t, payload)
	_, first, err := wire.ReadFrame(&b)
	require.NoError(t, err)
	_, second, err := wire.ReadFrame(&b)
	require.NoError(t, err)
	require.Equal(t, long, append(first, second...))
	_, _, err = wire.ReadFrame(&b)
	require.ErrorIs(t, err, io.EOF)
}

func TestReadFrameRefuses(t *testing.T) {
	_, _, err := wire.ReadFrame(bytes.NewReader([]byte{2, 0xff, 0, 0, 0}))
	require.ErrorIs(t, err, wire.ErrFrameTooLong)
	_, _, err = wire.ReadFrame(bytes.NewReader([]byte{2, 0, 0, 0, 9, 1}))
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

// recorder keeps what a host sends and never answers.
type recorder struct{ sent []byte }

func (r *recorder) Write(b []byte) (int, error) { r.sent = append(r.sent, b...); return len(b), nil }
func (r *recorder) Read([]byte) (int, error)    { return 0, io.EOF }
func (r *recorder) Close() error                { return nil }

// nopCloser keeps a port open when its connection is closed, as a virtio-serial port stays.
type nopCloser struct{ io.ReadWriter }

func (nopCloser) Close() error { return nil }
