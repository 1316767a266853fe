package kubeletapi

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// caller is a connection from an address.
type caller struct {
	net.Conn
	from string
}

func (c caller) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.from))
}

// door is a listener whose connections a test makes.
type door struct {
	net.Listener
	callers chan net.Conn
}

func newDoor() *door { return &door{callers: make(chan net.Conn, 10*perKnown)} }

func (d *door) Accept() (net.Conn, error) {
	conn, ok := <-d.callers
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (d *door) Close() error   { return nil }
func (d *door) Addr() net.Addr { return &net.TCPAddr{} }

// knock connects from an address, and returns the caller's end.
func (d *door) knock(from string) net.Conn {
	theirs, ours := net.Pipe()
	d.callers <- caller{ours, from}
	return theirs
}

// closed reports whether the other end has closed a connection.
func closed(t *testing.T, conn net.Conn) bool {
	t.Helper()
	if errors.Is(conn.SetReadDeadline(time.Now().Add(time.Millisecond)), io.ErrClosedPipe) {
		return true
	}
	_, err := conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	return false
}

func TestConnectionsThatNobodyIsKnownOnAreBounded(t *testing.T) {
	d := newDoor()
	var known acquaintances
	l := known.bound(d)
	accept := func(from string) (theirs net.Conn, ours net.Conn) {
		theirs = d.knock(from)
		conn, err := l.Accept()
		require.NoError(t, err)
		return theirs, conn
	}
	first, _ := accept("192.0.2.1:1000")
	for i := range perAddress - 1 {
		accept(fmt.Sprintf("192.0.2.1:%d", 2000+i))
	}
	assert.False(t, closed(t, first))
	accept("192.0.2.1:3000")
	assert.True(t, closed(t, first), "of one more the oldest goes")

	_, authenticated := accept("192.0.2.2:1")
	admit(known.withAdmission(t.Context(), authenticated))
	for i := range maxStrangers - perAddress {
		accept(fmt.Sprintf("198.51.100.%d:1", i))
	}
	refused := d.knock("203.0.113.1:1")
	served := d.knock("192.0.2.2:2")
	conn, err := l.Accept()
	require.NoError(t, err)
	assert.Equal(t, "192.0.2.2:2", conn.RemoteAddr().String(), "an address that somebody is known from has a place")
	assert.True(t, closed(t, refused))
	assert.False(t, closed(t, served))
	require.NoError(t, conn.Close())
}

// serve serves the API at a door until the test ends, to whoever sends the header Certificate.
func serve(t *testing.T, d *door) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	var asked int
	s := New(Config{
		Auth: Auth{certificates: someone("Certificate", &asked), tokens: someone("Token", &asked), failures: newFailures(), authorizer: anybody},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
		},
		Metrics: prometheus.NewRegistry(),
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, d) }() // ends with ctx
	t.Cleanup(func() {
		cancel()
		synctest.Wait() // until the server knows that it is closed
		close(d.callers)
		require.NoError(t, <-ended)
	})
}

func TestWhoWasAuthenticatedStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor()
		serve(t, d)
		known := tls.Client(d.knock("192.0.2.1:1"), &tls.Config{InsecureSkipVerify: true})
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://v/healthz", nil)
		require.NoError(t, err)
		request.Header.Set("Certificate", "alice")
		ask := func() int {
			require.NoError(t, request.Write(known))
			answer, err := http.ReadResponse(bufio.NewReader(known), request)
			require.NoError(t, err)
			defer answer.Body.Close()
			_, err = io.Copy(io.Discard, answer.Body)
			require.NoError(t, err)
			return answer.StatusCode
		}
		assert.Equal(t, http.StatusOK, ask())
		silent := d.knock("192.0.2.1:2")
		for i := range perKnown {
			d.knock(fmt.Sprintf("192.0.2.1:%d", 1000+i))
		}
		synctest.Wait()
		assert.True(t, closed(t, silent), "of one more the oldest that nobody is known on goes")
		assert.Equal(t, http.StatusOK, ask())
		_ = known.Close() // the server closes it at the same time
	})
}

func TestAnIPv6HostIsOneHostWhateverItsAddress(t *testing.T) {
	assert.Equal(t, source("[2001:db8::1]:1"), source("[2001:db8::ffff:2]:2"))
	assert.NotEqual(t, source("[2001:db8::1]:1"), source("[2001:db8:0:1::1]:1"))
	assert.Equal(t, source("192.0.2.1:1"), source("[::ffff:192.0.2.1]:2"))
	assert.Equal(t, netip.Addr{}, source("pipe"))
}

func TestASilentConnectionIsClosedSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor()
		serve(t, d)
		silent, begin := d.knock("192.0.2.1:1"), time.Now()
		_, err := silent.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		assert.Equal(t, 10*time.Second, time.Since(begin))
	})
}

// someone is an authenticator of who has sent that header.
func someone(header string, asked *int) authenticator.Request {
	return authenticator.RequestFunc(func(r *http.Request) (*authenticator.Response, bool, error) {
		*asked++
		name := r.Header.Get(header)
		return &authenticator.Response{User: &user.DefaultInfo{Name: name}}, name != "", nil
	})
}

// anybody may do anything.
var anybody = authorizer.AuthorizerFunc(func(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) {
	return authorizer.DecisionAllow, "", nil
})

func TestTokensThatNobodyKnowsAreBoundedByAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var certificates, tokens int
		auth := Auth{
			certificates: someone("Certificate", &certificates), tokens: someone("Token", &tokens), failures: newFailures(),
			authorizer: anybody,
		}
		handler := auth.protect(http.NotFoundHandler())
		ask := func(from string, header ...string) *httptest.ResponseRecorder {
			request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/healthz", nil)
			request.RemoteAddr = from
			for _, h := range header {
				request.Header.Set(h, "alice")
			}
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, request)
			return answer
		}
		const attacker, other = "192.0.2.1:1", "192.0.2.2:1"
		for range 600 {
			answer := ask(attacker)
			assert.Contains(t, []int{http.StatusUnauthorized, http.StatusTooManyRequests}, answer.Code)
			assert.Equal(t, "close", answer.Header().Get("Connection"))
		}
		assert.Equal(t, failuresBurst, tokens)
		assert.Equal(t, http.StatusTooManyRequests, ask(attacker, "Token").Code)
		assert.Equal(t, http.StatusNotFound, ask(attacker, "Certificate").Code, "a certificate asks nobody")
		assert.Equal(t, http.StatusNotFound, ask(other, "Token").Code)
		<-time.After(failuresInterval)
		for range 100 {
			assert.Equal(t, http.StatusNotFound, ask(attacker, "Token").Code, "what succeeds costs nothing")
		}
		assert.Equal(t, http.StatusUnauthorized, ask(attacker).Code)
		assert.Equal(t, http.StatusTooManyRequests, ask(attacker).Code)
	})
}

func TestWhoFailsFromEverywhereTakesNoMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFailures()
		at := netip.MustParseAddr("10.0.0.0")
		for range 2 * maxFailing {
			at = at.Next()
			require.True(t, f.begin(at))
		}
		assert.Len(t, f.from, maxFailing)
		<-time.After(failuresInterval)
		require.True(t, f.begin(at))
		assert.Len(t, f.from, 1, "those who have not failed since are forgotten")
	})
}
