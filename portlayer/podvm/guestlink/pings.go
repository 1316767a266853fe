package guestlink

import (
	"encoding/binary"
	"time"

	"golang.org/x/time/rate"
)

// The parts of yamux's framing that matter here (hashicorp/yamux, spec.md): a header of version, type, flags, stream id
// and length, and behind that of a data frame as many bytes as its length says.
const (
	muxHeaderBytes = 12
	muxTypeAt      = 1
	muxFlagsAt     = 2
	muxLengthAt    = 8
	muxData        = 0
	muxPing        = 2
	muxRequest     = 1 // the flag SYN: a ping that wants an answer
)

// A guest of ours pings once in wire.KeepAlive.
const (
	pingEvery = time.Second
	pingBurst = 16
)

// pingGuard follows the frames that a guest sends and counts the pings among them. yamux answers each on a goroutine of
// its own, which waits while the channel is full: a guest that pings and reads nothing would take all of the host's memory.
type pingGuard struct {
	header [muxHeaderBytes]byte
	have   int    // bytes of header that have come
	skip   uint32 // bytes of a data frame that are still to come
	pings  *rate.Limiter
}

func newPingGuard() *pingGuard {
	return &pingGuard{pings: rate.NewLimiter(rate.Every(pingEvery), pingBurst)}
}

// allow takes the next bytes of the stream, and answers false when there are too many pings in it.
func (g *pingGuard) allow(b []byte) bool {
	for len(b) > 0 {
		if g.skip > 0 {
			n := min(len(b), int(g.skip))
			g.skip -= uint32(n)
			b = b[n:]
			continue
		}
		n := copy(g.header[g.have:], b)
		b = b[n:]
		if g.have += n; g.have < muxHeaderBytes {
			return true
		}
		g.have = 0
		switch g.header[muxTypeAt] {
		case muxData:
			g.skip = binary.BigEndian.Uint32(g.header[muxLengthAt:])
		case muxPing:
			request := binary.BigEndian.Uint16(g.header[muxFlagsAt:])&muxRequest != 0
			if request && !g.pings.Allow() {
				return false
			}
		}
	}
	return true
}
