package channel

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/wait"
)

const (
	dialTimeout = 10 * time.Second // of one address
	joinTimeout = 30 * time.Second
	firstPause  = 200 * time.Millisecond
	lastPause   = 10 * time.Second
	// steady is how long a connection lasts that was not a failure.
	steady = 30 * time.Second
	// keepAlive finds out that a host has gone, which a channel that nobody speaks on would not.
	keepAlive = 15 * time.Second
	// unheardMost is how many channels may end without a word of the host's before the guest joins anew: the host may have
	// lost what it knew of the certificate.
	unheardMost = 3
)

// Dialer opens the channel of one boot, where the hypervisor has none: it joins with the token of the boot blob, which gives this
// boot a certificate, and then keeps one TLS connection open. Keys are made anew in each boot and never leave memory. Its methods
// are for one goroutine.
type Dialer struct {
	boot   wire.Boot
	roots  *x509.CertPool
	key    *ecdsa.PrivateKey
	own    *tls.Certificate // nil until it has joined
	latest int              // host that answered last
	// unheard counts channels that ended without a word of the host's.
	unheard int
}

// NewDialer returns a Dialer for what the blob says.
func NewDialer(boot wire.Boot) (*Dialer, error) {
	d := &Dialer{boot: boot, roots: x509.NewCertPool()}
	if !d.roots.AppendCertsFromPEM([]byte(boot.CA)) {
		return nil, errors.New("boot blob: ca has no certificate")
	}
	var err error
	if d.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	return d, nil
}

// Run joins, and gives serve one connection after the other until ctx ends. A host that refuses to be joined may not have
// heard of this boot yet, and is asked again.
func (d *Dialer) Run(ctx context.Context, serve func(net.Conn) error) error {
	pause := firstPause
	for ctx.Err() == nil {
		began := time.Now()
		err := d.once(ctx, serve)
		if time.Since(began) > steady {
			pause = firstPause
		}
		logging.From(ctx).WarnContext(ctx, "channel to the host ended", "err", err)
		_ = wait.For(ctx, pause) // the loop sees that ctx has ended
		pause = min(2*pause, lastPause)
	}
	return ctx.Err()
}

func (d *Dialer) once(ctx context.Context, serve func(net.Conn) error) error {
	if d.own == nil {
		if err := d.join(ctx); err != nil {
			return fmt.Errorf("join: %w", err)
		}
	}
	conn, err := d.dial(ctx, wire.ProtocolChannel)
	if err != nil {
		return fmt.Errorf("open channel: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	h := &heard{Conn: conn}
	err = serve(h)
	if d.unheard++; h.any {
		d.unheard = 0
	}
	if d.unheard >= unheardMost {
		d.own, d.unheard = nil, 0 // the key stays, by which the host knows this boot
	}
	return err
}

// heard is a connection that knows whether the host has said anything.
type heard struct {
	net.Conn
	any bool
}

// Read implements io.Reader.
func (h *heard) Read(b []byte) (int, error) {
	n, err := h.Conn.Read(b)
	h.any = h.any || n > 0
	return n, err
}

// dial connects to the host that answered last, or to the next one that does.
func (d *Dialer) dial(ctx context.Context, protocol string) (net.Conn, error) {
	var failed error
	for i := range d.boot.Hosts {
		n := (d.latest + i) % len(d.boot.Hosts)
		conn, err := d.dialHost(ctx, d.boot.Hosts[n], protocol)
		if err == nil {
			d.latest = n
			return conn, nil
		}
		failed = errors.Join(failed, err)
	}
	return nil, failed
}

func (d *Dialer) dialHost(ctx context.Context, address, protocol string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	dialer := tls.Dialer{NetDialer: &net.Dialer{KeepAlive: keepAlive}, Config: d.config(protocol)}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if got := conn.(*tls.Conn).ConnectionState().NegotiatedProtocol; got != protocol {
		_ = conn.Close() // nothing was said
		return nil, fmt.Errorf("host %s speaks %q, not %q", address, got, protocol)
	}
	return conn, nil
}

func (d *Dialer) config(protocol string) *tls.Config {
	c := &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: d.roots, ServerName: wire.HostName, NextProtos: []string{protocol},
		Time: d.now,
	}
	if d.own != nil {
		c.Certificates = []tls.Certificate{*d.own}
	}
	return c
}

// now is the time, but none before the blob was written: the clock is set by the host, later.
func (d *Dialer) now() time.Time {
	if now := time.Now(); now.After(d.boot.Time) {
		return now
	}
	return d.boot.Time
}

// join gets the certificate of this boot.
func (d *Dialer) join(ctx context.Context) error {
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, d.key)
	if err != nil {
		return fmt.Errorf("make certificate request: %w", err)
	}
	body, err := json.Marshal(wire.Join{
		VM: d.boot.VM, Token: d.boot.Token,
		Request: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: request})),
	})
	if err != nil {
		return err
	}
	joined, err := d.post(ctx, body)
	if err != nil {
		return err
	}
	block, _ := pem.Decode([]byte(joined.Certificate))
	if block == nil {
		return errors.New("host answers without a certificate")
	}
	d.own = &tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: d.key}
	return nil
}

func (d *Dialer) post(ctx context.Context, body []byte) (wire.Joined, error) {
	var joined wire.Joined
	conn, err := d.dial(ctx, wire.ProtocolJoin)
	if err != nil {
		return joined, err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	client := http.Client{Transport: &http.Transport{
		DialTLSContext:    func(context.Context, string, string) (net.Conn, error) { return conn, nil },
		DisableKeepAlives: true,
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+wire.HostName+wire.PathJoin, bytes.NewReader(body))
	if err != nil {
		return joined, err
	}
	res, err := client.Do(req)
	if err != nil {
		return joined, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, wire.MaxBootBytes))
	if err != nil {
		return joined, err
	}
	if res.StatusCode != http.StatusOK {
		return joined, fmt.Errorf("host answers %s: %s", res.Status, bytes.TrimSpace(answer))
	}
	return joined, json.Unmarshal(answer, &joined)
}
