package fakeguest

import (
	"crypto/rand"
	"encoding/hex"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/yamux"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// RestartPause is what a container waits before it starts again.
const RestartPause = 10 * time.Millisecond

// Config sets a Guest up.
type Config struct {
	// PowerOff is called when the guest was asked to power its VM off.
	PowerOff func()
	// HasDisk is true when the VM has a disk of that serial number.
	HasDisk func(serial string) bool
	// Changed is called when a snapshot would show something else than before; nil is nobody. It must not call the guest.
	Changed func()
}

// Guest is one boot of a fake guest. It is safe for concurrent use.
type Guest struct {
	config Config
	ended  chan struct{} // closed when the VM stopped

	mu         sync.Mutex // guards what follows
	bootID     string
	changed    chan struct{}
	generation uint64
	phase      wire.Phase
	pod        *wire.Pod
	stopReason string
	ending     bool // the pod ends by itself
	containers []*container
	last       *wire.Snapshot // of the end; nil before
	events     []wire.Event
	eventSeq   uint64
	files      map[string]wire.Files
	calls      []string
	greetings  int
	clock      time.Time
	spoil      func(*wire.Snapshot)
	skew       time.Duration
}

// New returns a guest that just booted.
func New(cfg Config) *Guest {
	return &Guest{
		config:  cfg,
		ended:   make(chan struct{}),
		changed: make(chan struct{}),
		phase:   wire.PhaseWaiting,
		files:   map[string]wire.Files{},
	}
}

// Serve answers hosts on port until port fails.
func (g *Guest) Serve(port io.ReadWriter) error {
	defer g.End()
	return wire.Accept(port, g.session)
}

// End stops everything at once, as a VM does whose power is cut. What the guest says of itself stays as it is now.
func (g *Guest) End() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.last != nil {
		return
	}
	last := g.snapshotLocked()
	g.last = &last
	close(g.ended)
	for _, c := range g.containers {
		if c.stop != nil {
			c.stopLocked()
		}
	}
}

// Ended is closed when the boot is over.
func (g *Guest) Ended() <-chan struct{} { return g.ended }

func (g *Guest) session(conn io.ReadWriteCloser) {
	cfg := yamux.DefaultConfig()
	cfg.LogOutput = io.Discard
	cfg.EnableKeepAlive = false
	mux, err := yamux.Server(conn, cfg)
	if err != nil {
		return
	}
	server := &http.Server{Handler: g.handler(), ReadHeaderTimeout: time.Minute}
	_ = server.Serve(mux) // returns when the session is over
	_ = mux.Close()
}

// SetBootID gives the boot a name, as a copy of a VM has one.
func (g *Guest) SetBootID(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.bootID = id
}

// BootID is the name that a host gave to the boot.
func (g *Guest) BootID() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.bootID
}

// Pod is what the guest was configured with; nil before that.
func (g *Guest) Pod() *wire.Pod {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.pod
}

// Files is the latest content of a volume.
func (g *Guest) Files(volume string) (wire.Files, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f, ok := g.files[volume]
	return f, ok
}

// Calls are the calls so far that change something, as method and path.
func (g *Guest) Calls() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.calls)
}

// Greetings is how often a host has asked who is there, once for each connection.
func (g *Guest) Greetings() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.greetings
}

// Clock is the time that the host set last.
func (g *Guest) Clock() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.clock
}

// Event adds an event to the ring.
func (g *Guest) Event(container, reason, message string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.eventLocked(container, reason, message)
	g.notifyLocked()
}

// Skew makes the guest's clock wrong by that much.
func (g *Guest) Skew(by time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.skew = by
}

// Spoil changes each snapshot before it is sent, as a guest that lies would.
func (g *Guest) Spoil(spoil func(*wire.Snapshot)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.spoil = spoil
	g.notifyLocked()
}

func (g *Guest) eventLocked(container, reason, message string) {
	g.eventSeq++
	g.events = append(g.events, wire.Event{
		Seq: g.eventSeq, Time: time.Now(), Container: container, Reason: reason, Message: message,
	})
}

// notifyLocked wakes whoever waits for a newer snapshot.
func (g *Guest) notifyLocked() {
	g.generation++
	close(g.changed)
	g.changed = make(chan struct{})
	if g.config.Changed != nil {
		g.config.Changed()
	}
}

func (g *Guest) snapshotLocked() wire.Snapshot {
	if g.last != nil {
		last := *g.last
		last.Events = slices.Clone(last.Events)
		return last
	}
	s := wire.Snapshot{
		BootID:     g.bootID,
		Generation: g.generation,
		Time:       time.Now().Add(g.skew),
		Phase:      g.phase,
		StopReason: g.stopReason,
		Containers: []wire.ContainerStatus{},
		Events:     slices.Clone(g.events),
	}
	if g.pod != nil {
		s.Addresses = addresses(*g.pod)
	}
	for _, c := range g.containers {
		s.Containers = append(s.Containers, c.status)
	}
	if g.spoil != nil {
		g.spoil(&s)
	}
	return s
}

func addresses(pod wire.Pod) []netip.Addr {
	var all []netip.Addr
	for _, i := range pod.Interfaces {
		for _, a := range i.Addresses {
			all = append(all, a.Addr())
		}
	}
	return all
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
