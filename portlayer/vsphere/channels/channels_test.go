package channels_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/channel"
	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/channels"
)

const patience = time.Minute

var loopback = netip.MustParseAddr("127.0.0.1")

// inventory is what vCenter says. It implements channels.VMs.
type inventory struct {
	mu       sync.Mutex // guards what follows
	vms      map[string]channels.VM
	rebooted []string
	refreshs int
	next     string // the boot that vSphere has not reported
}

func (i *inventory) Guest(vm string) (channels.VM, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	v, ok := i.vms[vm]
	return v, ok
}

func (i *inventory) Join(_ context.Context, vm, boot string, key [32]byte) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	v := i.vms[vm]
	if v.Joined == boot {
		return errors.New("another guest was faster")
	}
	v.Joined, v.Key = boot, key
	i.vms[vm] = v
	return nil
}

func (i *inventory) Refresh(_ context.Context, vm string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.refreshs++
	if next := i.next; next != "" {
		v := i.vms[vm]
		v.Boot, i.next = next, ""
		i.vms[vm] = v
	}
	return nil
}

func (i *inventory) HasAddress(a netip.Addr) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, v := range i.vms {
		if slices.Contains(v.Addresses, a) {
			return true
		}
	}
	return false
}

func (i *inventory) Rebooted(_ context.Context, vm, boot string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.rebooted = append(i.rebooted, vm+" "+boot)
	return nil
}

func (i *inventory) change(vm string, change func(*channels.VM)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	v := i.vms[vm]
	change(&v)
	i.vms[vm] = v
}

// host is a listener on loopback that knows the VM "vm" with the token "token".
type host struct {
	*channels.Entrance
	vms     *inventory
	address string
}

func start(t *testing.T) *host {
	t.Helper()
	authority, err := channels.LoadAuthority(filepath.Join(t.TempDir(), "node", "authority.pem"))
	require.NoError(t, err)
	on, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	h := &host{
		Entrance: channels.New(authority).At([]string{on.Addr().String()}), address: on.Addr().String(),
		vms: &inventory{vms: map[string]channels.VM{"vm": {Addresses: []netip.Addr{loopback}, TokenHash: sha256.Sum256([]byte("token")), Boot: "one"}}},
	}
	served := make(chan error, 1)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	h.Admit(h.vms)
	go func() { served <- h.Serve(ctx, on) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-served)
	})
	return h
}

// blob is the boot blob of a VM.
func (h *host) blob(vm, token string) wire.Boot {
	b := h.Boot(vm)
	b.Token = token
	return b
}

// guest dials in and answers every line with itself in upper case, until the test ends or leave is called.
func (h *host) guest(t *testing.T, boot wire.Boot) (leave func()) {
	t.Helper()
	d, err := channel.NewDialer(boot)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var gone sync.WaitGroup
	gone.Go(func() {
		_ = d.Run(ctx, func(conn net.Conn) error {
			for lines := bufio.NewScanner(conn); lines.Scan(); {
				if _, err := io.WriteString(conn, strings.ToUpper(lines.Text())+"\n"); err != nil {
					return err
				}
			}
			return io.EOF
		})
	})
	leave = func() { cancel(); gone.Wait() }
	t.Cleanup(leave)
	return leave
}

func (h *host) dial(t *testing.T) io.ReadWriteCloser {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := h.Dial(ctx, "vm")
	require.NoError(t, err)
	return c
}

func requireAnswers(t *testing.T, c io.ReadWriter) {
	t.Helper()
	_, err := io.WriteString(c, "hello\n")
	require.NoError(t, err)
	line, err := bufio.NewReader(c).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "HELLO\n", line)
}

func TestAGuestDialsInAgainAndAgain(t *testing.T) {
	h := start(t)
	h.guest(t, h.blob("vm", "token"))
	for range 3 {
		c := h.dial(t)
		requireAnswers(t, c)
		require.NoError(t, c.Close())
	}
	v, _ := h.vms.Guest("vm")
	assert.Equal(t, "one", v.Joined)
}

func TestTheNextHostFindsGuests(t *testing.T) {
	dir := t.TempDir()
	var boot wire.Boot
	on, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := on.Addr().String()
	vms := &inventory{vms: map[string]channels.VM{"vm": {Addresses: []netip.Addr{loopback}, TokenHash: sha256.Sum256([]byte("token")), Boot: "one"}}}
	for i := range 2 {
		authority, err := channels.LoadAuthority(filepath.Join(dir, "authority.pem"))
		require.NoError(t, err)
		h := &host{Entrance: channels.New(authority).At([]string{address}), vms: vms}
		if i == 0 {
			boot = h.blob("vm", "token")
			h.guest(t, boot)
		} else {
			on, err = net.Listen("tcp", address)
			require.NoError(t, err)
		}
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan error, 1)
		h.Admit(vms)
		go func() { served <- h.Serve(ctx, on) }()
		requireAnswers(t, h.dial(t))
		stop()
		require.NoError(t, <-served)
	}
	info, err := os.Stat(filepath.Join(dir, "authority.pem"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestARebootJoinsAgainAndTheFormerBootNoMore(t *testing.T) {
	h := start(t)
	h.guest(t, h.blob("vm", "token"))
	former := h.dial(t)
	requireAnswers(t, former)

	h.vms.change("vm", func(v *channels.VM) { v.Boot = "two" }) // an HA restart: the same blob
	h.guest(t, h.blob("vm", "token"))
	requireAnswers(t, h.dial(t))
	_, err := io.WriteString(former, "hello\n")
	if err == nil {
		_, err = bufio.NewReader(former).ReadString('\n')
	}
	require.Error(t, err, "the former boot's channel is closed")
	v, _ := h.vms.Guest("vm")
	assert.Equal(t, "two", v.Joined)
}

// request is what a guest posts.
func request(t *testing.T, key *ecdsa.PrivateKey, token string) wire.Join {
	t.Helper()
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	require.NoError(t, err)
	return wire.Join{VM: "vm", Token: token, Request: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}))}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

func (h *host) tls(t *testing.T) *tls.Config {
	t.Helper()
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM([]byte(h.Boot("vm").CA)))
	return &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots, ServerName: wire.HostName}
}

// post joins, and returns the status and the certificate.
func (h *host) post(t *testing.T, body any) (int, []byte) {
	t.Helper()
	b, err := json.Marshal(body)
	require.NoError(t, err)
	transport := &http.Transport{TLSClientConfig: h.tls(t)}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+h.address+wire.PathJoin, bytes.NewReader(b))
	require.NoError(t, err)
	res, err := (&http.Client{Transport: transport}).Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	var joined wire.Joined
	if res.StatusCode == http.StatusOK {
		require.NoError(t, json.NewDecoder(res.Body).Decode(&joined))
	}
	return res.StatusCode, []byte(joined.Certificate)
}

func TestABootThatVSphereHasNotReportedJoins(t *testing.T) {
	h := start(t)
	status, _ := h.post(t, request(t, newKey(t), "token"))
	require.Equal(t, http.StatusOK, status)
	h.vms.mu.Lock()
	h.vms.next = "two"
	h.vms.mu.Unlock()
	status, _ = h.post(t, request(t, newKey(t), "token"))
	assert.Equal(t, http.StatusOK, status)
	assert.Empty(t, h.vms.rebooted)
	v, _ := h.vms.Guest("vm")
	assert.Equal(t, "two", v.Joined)
}

func TestJoinsThatAreRefused(t *testing.T) {
	h := start(t)
	mine := newKey(t)
	status := func(want int, body any) {
		t.Helper()
		got, _ := h.post(t, body)
		assert.Equal(t, want, got)
	}
	status(http.StatusForbidden, request(t, mine, "wrong"))
	status(http.StatusForbidden, request(t, mine, ""))
	other := request(t, mine, "token")
	other.VM = "unknown"
	status(http.StatusForbidden, other)
	broken := request(t, mine, "token")
	broken.Request = "no PEM"
	status(http.StatusBadRequest, broken)
	status(http.StatusBadRequest, wire.Join{VM: "vm", Token: strings.Repeat("x", 10<<10)})

	h.vms.change("vm", func(v *channels.VM) { v.Addresses = []netip.Addr{netip.MustParseAddr("192.0.2.7")} })
	status(http.StatusForbidden, request(t, mine, "token"))
	h.vms.change("vm", func(v *channels.VM) { v.Addresses, v.Boot = []netip.Addr{loopback}, "" })
	status(http.StatusConflict, request(t, mine, "token"))
	h.vms.change("vm", func(v *channels.VM) { v.Boot = "one" })

	status(http.StatusOK, request(t, mine, "token"))
	status(http.StatusOK, request(t, mine, "token")) // its answer was lost
	assert.Empty(t, h.vms.rebooted)
	leave := h.guestWith(t, mine)
	status(http.StatusConflict, request(t, newKey(t), "token"))
	assert.Empty(t, h.vms.rebooted, "its channel is open")
	leave() // the host has hung up
	status(http.StatusConflict, request(t, newKey(t), "token"))
	assert.Empty(t, h.vms.rebooted, "it may dial in again")
	require.Eventually(t, func() bool {
		status(http.StatusConflict, request(t, newKey(t), "token"))
		return len(h.vms.rebooted) > 0
	}, patience, time.Second)
	assert.Equal(t, "vm one", h.vms.rebooted[0])
}

// guestWith has its channel open with the certificate that a key has got, until leave is called.
func (h *host) guestWith(t *testing.T, key *ecdsa.PrivateKey) (leave func()) {
	t.Helper()
	status, cert := h.post(t, request(t, key, "token"))
	require.Equal(t, http.StatusOK, status)
	block, _ := pem.Decode(cert)
	config := h.tls(t)
	config.NextProtos = []string{wire.ProtocolChannel}
	config.Certificates = []tls.Certificate{{Certificate: [][]byte{block.Bytes}, PrivateKey: key}}
	conn, err := tls.Dial("tcp", h.address, config)
	require.NoError(t, err)
	taken := h.dial(t)
	return func() {
		require.NoError(t, conn.Close())
		_, err := taken.Read(make([]byte, 1))
		require.Error(t, err)
		_ = taken.Close() // it is broken
	}
}

func TestCertificatesThatAreRefused(t *testing.T) {
	h := start(t)
	key := newKey(t)
	status, cert := h.post(t, request(t, key, "token"))
	require.Equal(t, http.StatusOK, status)
	block, _ := pem.Decode(cert)
	own := tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key}
	refused := func(certs ...tls.Certificate) {
		t.Helper()
		config := h.tls(t)
		config.NextProtos, config.Certificates = []string{wire.ProtocolChannel}, certs
		conn, err := tls.Dial("tcp", h.address, config)
		if err != nil {
			return
		}
		defer conn.Close()
		require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
		_, err = conn.Read(make([]byte, 1))
		require.Error(t, err)
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "it was left open")
	}
	refused()
	h.vms.change("vm", func(v *channels.VM) { v.Boot = "two" })
	refused(own)
	h.vms.change("vm", func(v *channels.VM) { v.Boot, v.Addresses = "one", []netip.Addr{netip.MustParseAddr("192.0.2.7")} })
	refused(own)
	strange := start(t)
	_, cert = strange.post(t, request(t, key, "token"))
	block, _ = pem.Decode(cert)
	h.vms.change("vm", func(v *channels.VM) { v.Addresses = []netip.Addr{loopback} })
	refused(tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key})
}

func TestAStrangerCostsLittle(t *testing.T) {
	h := start(t)
	var open []net.Conn
	for range 20 { // without a word
		conn, err := net.Dial("tcp", h.address)
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		open = append(open, conn)
	}
	dropped := make(chan net.Conn, len(open))
	for _, conn := range open {
		go func() {
			_, _ = conn.Read(make([]byte, 1)) // until it is dropped
			dropped <- conn
		}()
	}
	for range 16 {
		select {
		case <-dropped:
		case <-time.After(patience):
			require.Fail(t, "four connections of one address may wait, and no more")
		}
	}
	assert.Empty(t, dropped, "four may wait for their first word")
	// A pod that keeps its places keeps its guest from nothing: the oldest one goes.
	h.guest(t, h.blob("vm", "token"))
	requireAnswers(t, h.dial(t))
}

func TestStrangersLeaveRoomForGuests(t *testing.T) {
	h := start(t)
	h.vms.change("vm", func(v *channels.VM) { v.Addresses = []netip.Addr{netip.MustParseAddr("127.0.0.2")} })
	from := func(address string) net.Conn {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
		conn, err := d.DialContext(t.Context(), "tcp", h.address)
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	gone := make(chan struct{}, 100)
	for i := range 100 { // of as many addresses that no VM has, without a word
		conn := from(fmt.Sprintf("127.0.1.%d", i+1))
		go func() {
			_, _ = conn.Read(make([]byte, 1)) // until it is dropped
			gone <- struct{}{}
		}()
	}
	for range 36 {
		select {
		case <-gone:
		case <-time.After(patience):
			require.Fail(t, "strangers have 64 places")
		}
	}
	config := h.tls(t)
	config.NextProtos = []string{wire.ProtocolJoin}
	guest := tls.Client(from("127.0.0.2"), config)
	require.NoError(t, guest.SetDeadline(time.Now().Add(patience)))
	require.NoError(t, guest.HandshakeContext(t.Context()), "an address of a VM has a place")
}

func TestAGuestWhoseCertificateIsNotKnownJoinsAgain(t *testing.T) {
	h := start(t)
	h.guest(t, h.blob("vm", "token"))
	requireAnswers(t, h.dial(t))
	// The host names the boot in another way, as after vSphere has forgotten when the VM was powered on.
	h.vms.change("vm", func(v *channels.VM) { v.Boot, v.Joined = "1", "1" })
	h.Forget("vm")
	requireAnswers(t, h.dial(t))
	assert.Empty(t, h.vms.rebooted)
}

func TestAHostThatIsNotTheBlobsLearnsNothing(t *testing.T) {
	h, other := start(t), start(t)
	blob := h.blob("vm", "token")
	blob.Hosts = []string{other.address, h.address}
	h.guest(t, blob)
	requireAnswers(t, h.dial(t))
	v, _ := other.vms.Guest("vm")
	assert.Empty(t, v.Joined)
}

func TestDialEndsWithItsContext(t *testing.T) {
	h := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := h.Dial(ctx, "vm")
	require.ErrorIs(t, err, context.Canceled)
	h.Forget("vm")
}

func TestOneListenerTakesTheGuestsOfSeveralVCHs(t *testing.T) {
	h := start(t)
	other := &inventory{vms: map[string]channels.VM{"other": {Addresses: []netip.Addr{loopback}, TokenHash: sha256.Sum256([]byte("another")), Boot: "one"}}}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	leave := h.Admit(other)
	h.guest(t, h.blob("vm", "token"))
	h.guest(t, h.blob("other", "another"))
	c, err := h.Dial(ctx, "other")
	require.NoError(t, err)
	requireAnswers(t, c)
	stays := h.dial(t)
	requireAnswers(t, stays)
	v, _ := other.Guest("other")
	assert.Equal(t, "one", v.Joined)

	leave()
	require.NoError(t, c.Close())
	requireAnswers(t, stays)
	gone, done := context.WithTimeout(t.Context(), 2*time.Second)
	defer done()
	_, err = h.Dial(gone, "other")
	require.ErrorIs(t, err, context.DeadlineExceeded, "a VCH that has left has no guests")
}

// TestWhoHasATokenHasVSphereAskedNowAndThen joins with ever other keys, as a pod can that has read its token.
func TestWhoHasATokenHasVSphereAskedNowAndThen(t *testing.T) {
	h := start(t)
	status, _ := h.post(t, request(t, newKey(t), "token"))
	require.Equal(t, http.StatusOK, status)
	began := time.Now()
	for range 6 {
		status, _ := h.post(t, request(t, newKey(t), "token"))
		assert.Equal(t, http.StatusConflict, status)
	}
	h.vms.mu.Lock()
	defer h.vms.mu.Unlock()
	assert.LessOrEqual(t, h.vms.refreshs, 1+int(time.Since(began)/(5*time.Second)))
}

func TestAnAddressHasOnlySoManyHandshakes(t *testing.T) {
	h := start(t)
	refused := 0
	for range 100 {
		conn, err := tls.Dial("tcp", h.address, h.tls(t))
		if err != nil {
			refused++
			continue
		}
		_ = conn.Close() // it was only counted
	}
	assert.NotZero(t, refused)
	h.guest(t, h.blob("vm", "token"))
	requireAnswers(t, h.dial(t))
}
