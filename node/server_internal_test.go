package node

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/node/statedir"
)

func TestALeaderWaitsForTheStateOfTheFormerOne(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	former, err := statedir.Open(dir)
	require.NoError(t, err)
	alone := &server{ServerConfig: ServerConfig{Settings: &config.Node{Dir: dir}}}
	_, err = alone.lockState(t.Context())
	require.ErrorIs(t, err, statedir.ErrInUse, "without an election there is nobody to wait for")

	next := &server{ServerConfig: ServerConfig{Settings: &config.Node{Dir: dir, LeaderElection: &config.LeaderElection{}}}}
	type answer struct {
		state *statedir.Dir
		err   error
	}
	answered := make(chan answer, 1)
	go func() {
		state, err := next.lockState(t.Context())
		answered <- answer{state, err}
	}()
	select {
	case a := <-answered:
		require.Fail(t, "it has not waited", "%v", a.err)
	case <-time.After(2 * lockInterval):
	}
	require.NoError(t, former.Close())
	a := <-answered
	require.NoError(t, a.err)
	assert.Equal(t, dir, a.state.Path)
	require.NoError(t, a.state.Close())
	again, err := statedir.Open(dir)
	require.NoError(t, err, "it has let go")
	require.NoError(t, again.Close())
}

// probe returns the status of a probe, 0 while nobody answers.
func probe(address, path string) int {
	resp, err := http.Get("http://" + address + path)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

func TestAProcessWithOneNodeAnswersProbes(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	s := serverOf(t, newMemory(), "system:node:n", func(n *config.Node) { n.HealthListen, n.VCH.Address = address, "127.0.0.1" })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	require.ErrorContains(t, Serve(ctx, s.ServerConfig), "healthListen: ", "it is in use")
	require.NoError(t, l.Close())
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, s.ServerConfig) }() // ends with ctx
	require.Eventually(t, func() bool { return probe(address, "/healthz") == http.StatusOK }, time.Minute, time.Millisecond)
	assert.Equal(t, http.StatusInternalServerError, probe(address, "/readyz"), "the API server does not show the node")
	cancel()
	require.NoError(t, <-served)
	assert.Zero(t, probe(address, "/healthz"))
}

// place is where guests dial in.
type place struct{ at, closed chan string }

func (p *place) Listen(_ context.Context, at GuestsAt) error {
	p.at <- at.Address
	return nil
}
func (p *place) Serve(ctx context.Context) error { <-ctx.Done(); return nil }
func (p *place) Close()                          { close(p.closed) }

func TestAProcessWithOneNodeListensForItsGuests(t *testing.T) {
	p := &place{make(chan string, 1), make(chan string)}
	s := serverOf(t, newMemory(), "system:node:n", func(n *config.Node) { n.GuestListen, n.VCH.Address = ":7443", "127.0.0.1" })
	s.Guests = p
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, s.ServerConfig) }() // ends with ctx
	select {
	case at := <-p.at:
		require.Equal(t, ":7443", at)
	case <-time.After(time.Minute):
		require.Fail(t, "it does not listen")
	}
	cancel()
	require.NoError(t, <-served)
	<-p.closed
}

func TestAVCHIsNotOpenedAtAnotherPlaceThanItsPods(t *testing.T) {
	settings := config.DefaultNode()
	settings.VCH = &config.Entry{Name: "n", VCH: config.VCH{Subnet: "192.0.2.0/24", Address: "127.0.0.1"}}
	settings.SetDefaults()
	state, err := statedir.Open(t.TempDir())
	require.NoError(t, err)
	defer state.Close()
	m := newMemory()
	open := func(subnet string) error {
		v := &VCH{Entry: *settings.VCH}
		v.Subnet, v.Port = subnet, 0
		s := serverOf(t, m, "system:node:n", func(*config.Node) {})
		n, err := s.open(t.Context(), v, state)
		if err == nil {
			n.Close(t.Context())
		}
		return err
	}
	require.NoError(t, open("192.0.2.0/24"))
	require.NoError(t, open("192.0.3.0/24"), "there are no pods")
	run := filepath.Join(state.Runs(), "uid-1")
	require.NoError(t, os.MkdirAll(run, 0o700))
	var wrong config.Errors
	require.ErrorAs(t, open("192.0.2.0/24"), &wrong)
	require.ErrorContains(t, wrong, `subnet: it can't change from "192.0.3.0/24" to "192.0.2.0/24": pods are there`)
	require.NoError(t, open("192.0.3.0/24"), "it has been put back")
	require.NoError(t, os.Remove(run))
	require.NoError(t, open("192.0.2.0/24"))
	require.NoError(t, os.WriteFile(state.Place(), []byte("{"), 0o600))
	require.NoError(t, open("192.0.2.0/24"))
}

func TestACredentialThatIsRefusedIsNotAnAPIServerThatIsSilent(t *testing.T) {
	s := serverOf(t, newMemory(), "system:node:n", func(*config.Node) {})
	s.API = serveAPI(t, "").config()
	err := Serve(t.Context(), s.ServerConfig)
	require.ErrorContains(t, err, "refuses the credential of --kubeconfig: ")
	require.NotContains(t, err.Error(), "does not answer")
	s.API.CertData, s.API.KeyData = expired(t)
	require.ErrorContains(t, Serve(t.Context(), s.ServerConfig), "refuses the credential of --kubeconfig, its client certificate of system:node:n ended at 2020-01-02T00:00:00Z: ")
}

// expired is a certificate of the past with its key.
func expired(t *testing.T) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	begin := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "system:node:n"}, NotBefore: begin, NotAfter: begin.AddDate(0, 0, 1),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	require.NoError(t, err)
	keyDER, err := x509.MarshalECPrivateKey(k)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
}

func TestOnlyANodeItselfAsksForAServingCertificate(t *testing.T) {
	s := serverOf(t, newMemory(), "system:node:n", func(*config.Node) {})
	require.NoError(t, s.check(t.Context()))
	assert.True(t, s.signs(&config.Entry{VCH: config.VCH{NodeName: "n"}}))
	assert.False(t, s.signs(&config.Entry{VCH: config.VCH{NodeName: "m"}}))
}
