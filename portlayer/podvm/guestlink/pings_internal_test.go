package guestlink

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// muxFrame is a frame of yamux.
func muxFrame(kind byte, flags uint16, length uint32, payload []byte) []byte {
	b := make([]byte, muxHeaderBytes, muxHeaderBytes+len(payload))
	b[muxTypeAt] = kind
	binary.BigEndian.PutUint16(b[muxFlagsAt:], flags)
	binary.BigEndian.PutUint32(b[muxLengthAt:], length)
	return append(b, payload...)
}

func TestAGuestThatPingsWithoutEndIsLeft(t *testing.T) {
	host, guest := net.Pipe()
	s, err := newSession(host, time.Minute)
	require.NoError(t, err)
	t.Cleanup(s.close)
	require.NoError(t, guest.SetDeadline(time.Now().Add(10*time.Second)))
	ping := muxFrame(muxPing, muxRequest, 1, nil)
	for range 1000 {
		if _, err = guest.Write(ping); err != nil {
			break
		}
	}
	require.ErrorIs(t, err, io.ErrClosedPipe)
}

func TestOnlyRequestsCountAsPings(t *testing.T) {
	ping := muxFrame(muxPing, muxRequest, 1, nil)
	payload := bytes.Repeat(ping, 100)
	tests := map[string]struct {
		stream []byte
		want   bool
	}{
		"a few pings are answered":       {bytes.Repeat(ping, pingBurst), true},
		"too many pings are not":         {bytes.Repeat(ping, pingBurst+1), false},
		"answers to pings are not pings": {bytes.Repeat(muxFrame(muxPing, 2, 1, nil), 100), true},
		"data is not a ping":             {muxFrame(muxData, 0, uint32(len(payload)), payload), true},
		"pings behind data are counted": {
			append(muxFrame(muxData, 0, uint32(len(payload)), payload), payload...), false,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{1, 5, muxHeaderBytes, len(tt.stream)} {
				g := newPingGuard()
				allowed := true
				for piece := range slices.Chunk(tt.stream, size) {
					allowed = allowed && g.allow(piece)
				}
				assert.Equal(t, tt.want, allowed, "in pieces of %d bytes", size)
			}
		})
	}
}
