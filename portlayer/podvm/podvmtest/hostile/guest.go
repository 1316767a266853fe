package hostile

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// nonsense is more than what is left of a frame that a mode began.
const nonsense = 300 << 10

// Guest misbehaves on one port, in one mode at a time. It is safe for concurrent use.
type Guest struct {
	port io.ReadWriter
	base string // of the boot ids

	did     atomic.Int64 // how much harm was done in this mode, in units of its own
	writing sync.Mutex   // held while bytes go to the port

	planned    chan struct{} // closed by the first plan
	plannedOne sync.Once     // guards planned

	mu    sync.Mutex // guards what follows
	mode  Mode
	until chan struct{} // closed when the mode ends
	boot  string        // the boot id that it claims, another in each mode
	modes int           // that it had
	conn  io.Closer     // the session, where there is one
	names []string      // of the pod's containers
}

// New returns a guest that is honest until Become, on a port that Serve reads.
func New(port io.ReadWriter, bootID string) *Guest {
	return &Guest{port: port, base: bootID, boot: bootID, mode: Honest, until: make(chan struct{}), planned: make(chan struct{}), names: []string{"app"}}
}

// Become ends what the guest does and begins mode. It returns how much was done.
func (g *Guest) Become(mode Mode) int64 {
	g.mu.Lock()
	close(g.until)
	g.mode, g.until = mode, make(chan struct{})
	g.modes++
	g.boot = fmt.Sprintf("%.40s-%d", g.base, g.modes)
	conn, until := g.conn, g.until
	g.conn = nil
	g.mu.Unlock()
	did := g.did.Swap(0)
	if conn != nil {
		_ = conn.Close() // it ends one way or the other
		// A host notices at once what is not a frame, and the end of a session on such a port not at all.
		_, _ = g.write(bytes.Repeat([]byte{0xff}, nonsense))
	}
	if mode == Noise {
		go g.noise(until) // ends with the mode
	}
	return did
}

// Did is how much was done in this mode so far.
func (g *Guest) Did() int64 { return g.did.Load() }

// Configured is closed when a host has given the guest a plan.
func (g *Guest) Configured() <-chan struct{} { return g.planned }

// bootID is the one that the guest claims now.
func (g *Guest) bootID() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.boot
}

// now returns the mode and what ends it.
func (g *Guest) now() (Mode, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mode, g.until
}

// Serve answers hosts until the port fails.
func (g *Guest) Serve() error { return wire.Accept(tap{g}, g.session) }

// session is one host's connection.
func (g *Guest) session(conn io.ReadWriteCloser) {
	g.mu.Lock()
	mode, until := g.mode, g.until
	g.conn = conn
	g.mu.Unlock()
	defer conn.Close()
	switch mode {
	case Frames, Streams, Pings:
		go func() { _, _ = io.Copy(io.Discard, conn) }() // ends with the session
		g.flood(conn, mode, until)
	case Noise, Deaf:
		<-until
	default:
		g.answer(conn, mode, until)
	}
}

// tap is the port as a mode lets it appear: one that is never read, or one whose answers drown.
type tap struct{ g *Guest }

func (t tap) Read(b []byte) (int, error) {
	if mode, until := t.g.now(); mode == Deaf {
		if t.g.did.Add(1) > 1 { // the preamble has been read and echoed
			<-until
		}
	}
	return t.g.port.Read(b)
}

func (t tap) Write(b []byte) (int, error) {
	if mode, _ := t.g.now(); mode == Noise {
		return len(b), nil
	}
	return t.g.write(b)
}

func (g *Guest) write(b []byte) (int, error) {
	g.writing.Lock()
	defer g.writing.Unlock()
	return g.port.Write(b)
}

// noise writes what is not a preamble's echo, without end.
func (g *Guest) noise(until <-chan struct{}) {
	b := make([]byte, wire.MaxFrameBytes)
	for i := range b {
		b[i] = byte(i * 7)
	}
	for pause := time.Duration(0); ; {
		select {
		case <-until:
			return
		case <-time.After(pause):
		}
		n, err := g.write(b)
		g.did.Add(int64(n))
		if pause = 0; err != nil {
			pause = 50 * time.Millisecond // no host is there
		}
	}
}
