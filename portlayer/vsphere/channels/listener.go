package channels

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/strangers"
)

const (
	// helloTimeout is what a stranger has for all that it says: handshake and join.
	helloTimeout = 10 * time.Second
	headerBytes  = 4 << 10
	// redialTime is within what a guest whose channel ended has tried to open another one, several times.
	redialTime = 5 * time.Second
	// refreshEvery is how often vSphere is asked about one VM because somebody with its token has another key.
	refreshEvery = 5 * time.Second
)

// VM is what vCenter says of a VM.
type VM struct {
	// Addresses are those that the VM was given.
	Addresses []netip.Addr
	// TokenHash is the SHA-256 of the token that the VM was powered on with.
	TokenHash [32]byte
	// Boot names the latest power-on; it is empty while the VM is off.
	Boot string
	// Joined is the boot that has joined last, and Key the SHA-256 of its public key.
	Joined string
	Key    [32]byte
}

// Listener takes the channels of guests, of all VCHs that were admitted. It is safe for concurrent use.
type Listener struct {
	authority *Authority
	vms       several

	mu    sync.Mutex // guards what follows
	slots map[string]*slot
}

// slot is for the channel of one VM.
type slot struct {
	changed chan struct{} // closed and replaced when a guest has dialed in
	waiting *channel      // dialed in and not taken
	taken   *channel
	hungUp  time.Time // when we closed it to see who is there
	asked   time.Time // when vSphere was asked about the VM
}

// New returns a Listener that nobody reaches yet.
func New(authority *Authority) *Listener {
	return &Listener{authority: authority, slots: map[string]*slot{}}
}

// Admit takes guests of a VCH's VMs from now on, until leave is called.
func (l *Listener) Admit(vms VMs) (leave func()) { return l.vms.add(vms) }

// At returns the Listener as the guests of one VCH find it: at one of hosts, addresses with ports.
func (l *Listener) At(hosts []string) *Entrance { return &Entrance{Listener: l, hosts: hosts} }

// Entrance is a Listener at the addresses of one VCH. It implements vsphere.GuestChannels.
type Entrance struct {
	*Listener
	hosts []string
}

// Boot is what the guest of a VM needs to dial in, but for its token and its interfaces.
func (e *Entrance) Boot(vm string) wire.Boot {
	return wire.Boot{
		Version: wire.BootVersion, VM: vm, Hosts: e.hosts, CA: e.authority.PEM(), Time: time.Now().UTC().Truncate(time.Second),
	}
}

// Serve takes guests from on until ctx ends. It is called once.
func (l *Listener) Serve(ctx context.Context, on net.Listener) error {
	cert, err := l.authority.server()
	if err != nil {
		return fmt.Errorf("serve guests: make certificate: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+wire.PathJoin, l.join)
	srv := &http.Server{
		Handler: mux, ReadTimeout: helloTimeout, WriteTimeout: helloTimeout, MaxHeaderBytes: headerBytes,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    slog.NewLogLogger(logging.From(ctx).Handler(), slog.LevelDebug),
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, NextProtos: []string{wire.ProtocolChannel, wire.ProtocolJoin},
			ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: l.authority.pool(), SessionTicketsDisabled: true,
		},
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){
			wire.ProtocolChannel: func(_ *http.Server, conn *tls.Conn, _ http.Handler) { l.open(ctx, conn) },
		},
	}
	srv.SetKeepAlivesEnabled(false)
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	err = srv.ServeTLS(bound(on, l.vms.HasAddress), "", "")
	l.closeAll()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve guests: %w", err)
}

// Dial waits until the guest of a VM has dialed in, and returns its channel. A guest that dials in again ends its former one.
func (l *Listener) Dial(ctx context.Context, vm string) (io.ReadWriteCloser, error) {
	for {
		l.mu.Lock()
		s := l.slotLocked(vm)
		c, changed := s.waiting, s.changed
		if c != nil {
			s.waiting, s.taken = nil, c
		}
		l.mu.Unlock()
		if c != nil {
			return c, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (l *Listener) slotLocked(vm string) *slot {
	s := l.slots[vm]
	if s == nil {
		s = &slot{changed: make(chan struct{})}
		l.slots[vm] = s
	}
	return s
}

// alive reports whether the guest of a VM has its channel open, as far as the host knows.
func (l *Listener) alive(vm string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.slots[vm]
	return s != nil && (s.waiting.isOpen() || s.taken.isOpen() || time.Since(s.hungUp) < redialTime)
}

// mayRefresh reports whether vSphere may be asked about a VM again, and takes it for asked.
func (l *Listener) mayRefresh(vm string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.slotLocked(vm)
	if time.Since(s.asked) < refreshEvery {
		return false
	}
	s.asked = time.Now()
	return true
}

// hangUp closes the channel of a VM, whose guest has some time to dial in again.
func (l *Listener) hangUp(vm string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.slots[vm]; s != nil && (s.waiting.isOpen() || s.taken.isOpen()) {
		s.close()
		s.hungUp = time.Now()
	}
}

// Forget closes what a VM has that is gone.
func (l *Listener) Forget(vm string) {
	l.mu.Lock()
	s := l.slots[vm]
	delete(l.slots, vm)
	l.mu.Unlock()
	if s != nil {
		s.close()
	}
}

func (l *Listener) closeAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.slots {
		s.close()
	}
}

func (s *slot) close() {
	for _, c := range []*channel{s.waiting, s.taken} {
		if c != nil {
			_ = c.Close() // it may be closed already
		}
	}
}

// channel is one connection of a guest.
type channel struct {
	*tls.Conn
	closed chan struct{}
	once   sync.Once // guards closed
}

func (c *channel) isOpen() bool {
	if c == nil {
		return false
	}
	select {
	case <-c.closed:
		return false
	default:
		return true
	}
}

// Close ends the channel; the guest dials in again.
func (c *channel) Close() error {
	var err error
	c.once.Do(func() {
		err = c.NetConn().Close() // a TLS farewell could block on a guest that does not read
		close(c.closed)
	})
	return err
}

// open offers a connection to whoever dials its VM, and returns when it is closed.
func (l *Listener) open(ctx context.Context, conn *tls.Conn) {
	vm, err := l.holder(conn)
	if err != nil {
		logging.From(ctx).DebugContext(ctx, "channel refused", "address", conn.RemoteAddr().String(), "err", err)
		return
	}
	strangers.Admit(conn.NetConn())
	c := &channel{Conn: conn, closed: make(chan struct{})}
	l.mu.Lock()
	s := l.slotLocked(vm)
	s.close() // a guest has one channel, the latest
	s.waiting, s.taken = c, nil
	close(s.changed)
	s.changed = make(chan struct{})
	l.mu.Unlock()
	select {
	case <-c.closed:
	case <-ctx.Done():
		_ = c.Close() // nobody else does
	}
}

// holder is the VM whose boot's certificate a connection shows.
func (l *Listener) holder(conn *tls.Conn) (string, error) {
	certs := conn.ConnectionState().PeerCertificates // verified where there are any
	if len(certs) == 0 {
		return "", errors.New("no certificate")
	}
	name, boot := certs[0].Subject.CommonName, certs[0].Subject.SerialNumber
	vm, ok := l.vms.Guest(name)
	switch {
	case !ok:
		return "", fmt.Errorf("VM %s is not known", name)
	case vm.Boot == "" || vm.Boot != boot:
		return "", fmt.Errorf("certificate is of boot %s of VM %s, which is at %q", boot, name, vm.Boot)
	case !slices.Contains(vm.Addresses, source(conn.RemoteAddr().String())):
		return "", fmt.Errorf("VM %s has addresses %v", name, vm.Addresses)
	}
	return name, nil
}

// source is the address that a connection comes from.
func source(remote string) netip.Addr {
	from, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	return from.Addr().Unmap()
}
