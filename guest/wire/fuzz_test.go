package wire_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// FuzzReadFrame reads frames that anybody may have written. What was read and is written again is what was there.
func FuzzReadFrame(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{3, 0, 0, 0, 5, 'h', 'e', 'l', 'l', 'o', 7, 0, 0, 0, 2, '{', '}'})
	f.Add([]byte{3, 0, 0, 0, 9, 's', 'h', 'o', 'r', 't'})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff})
	f.Add(binary.BigEndian.AppendUint32([]byte{4}, wire.MaxFrameBytes+1))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		var again bytes.Buffer
		w := wire.NewFrameWriter(&again)
		for {
			kind, payload, err := wire.ReadFrame(r)
			if err != nil {
				known := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, wire.ErrFrameTooLong)
				require.True(t, known, "%v", err)
				break
			}
			require.LessOrEqual(t, len(payload), wire.MaxFrameBytes)
			require.NoError(t, w.Frame(kind, payload))
		}
		require.True(t, bytes.HasPrefix(b, again.Bytes()))
	})
}

// answering is a guest that answers a host's preamble with something before its echo, and something behind it.
type answering struct {
	before, after []byte
	version       uint16
	sent          []byte
	answer        io.Reader
}

// Write takes the preamble, and what the host sends later.
func (a *answering) Write(b []byte) (int, error) {
	a.sent = append(a.sent, b...)
	if a.answer == nil {
		echo := bytes.Clone(b)
		binary.BigEndian.PutUint16(echo[magicBytes:], a.version)
		a.answer = bytes.NewReader(append(append(bytes.Clone(a.before), echo...), a.after...))
	}
	return len(b), nil
}

func (a *answering) Read(b []byte) (int, error) { return a.answer.Read(b) }
func (*answering) Close() error                 { return nil }

// magicBytes is the length of the magic word, which the version follows.
const magicBytes = 32

// preambleSeeds are beginnings that a preamble may stand behind: noise, and pieces of preambles.
func preambleSeeds(tb testing.TB) [][]byte {
	tb.Helper()
	host := &answering{version: wire.Version}
	_, err := wire.Connect(host)
	require.NoError(tb, err)
	whole := host.sent
	return [][]byte{
		{},
		[]byte("noise"), whole, whole[:1], whole[:magicBytes], whole[:magicBytes+1], whole[:len(whole)-1],
		append(bytes.Clone(whole[:magicBytes+3]), whole...), bytes.Repeat(whole[:1], 100),
	}
}

// FuzzConnect has a host find its session behind whatever a guest sends first.
func FuzzConnect(f *testing.F) {
	for _, before := range preambleSeeds(f) {
		f.Add(before, wire.Version, []byte("after"))
		f.Add(before, wire.Version+1, []byte{})
	}
	f.Fuzz(func(t *testing.T, before []byte, version uint16, after []byte) {
		conn, err := wire.Connect(&answering{before: before, version: version, after: after})
		if version != wire.Version {
			require.ErrorIs(t, err, wire.ErrVersion)
			return
		}
		require.NoError(t, err)
		got, err := io.ReadAll(conn)
		require.NoError(t, err)
		require.Equal(t, string(after), string(got))
	})
}

// fixedPort delivers bytes and takes all that is written.
type fixedPort struct{ io.Reader }

func (fixedPort) Write(b []byte) (int, error) { return len(b), nil }

// FuzzAccept has a guest find a host's session behind whatever was left in its port.
func FuzzAccept(f *testing.F) {
	for _, before := range preambleSeeds(f) {
		f.Add(before, []byte("what the host says"))
		f.Add(before, before)
	}
	f.Fuzz(func(t *testing.T, before, said []byte) {
		host := &answering{version: wire.Version}
		conn, err := wire.Connect(host)
		require.NoError(t, err)
		_, err = conn.Write(said)
		require.NoError(t, err)
		begun := make(chan chan []byte, len(before)/magicBytes+2)
		err = wire.Accept(fixedPort{bytes.NewReader(append(bytes.Clone(before), host.sent...))}, func(s io.ReadWriteCloser) {
			heard := make(chan []byte, 1)
			begun <- heard
			b, _ := io.ReadAll(s) // ends with the session
			heard <- b
		})
		require.ErrorIs(t, err, io.EOF)
		for {
			select {
			case heard := <-begun:
				if bytes.Equal(<-heard, said) {
					return // the others are of what came before
				}
			case <-time.After(time.Minute):
				require.Fail(t, "no session heard the host")
			}
		}
	})
}
