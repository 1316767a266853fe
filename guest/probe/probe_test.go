package probe_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/virtual-kubelet/vic/guest/probe"
	"github.com/virtual-kubelet/vic/guest/wire"
)

const patience = time.Minute

// command is an Execer whose command ended like that.
type command struct {
	code   int32
	output string
	err    error
}

func (c command) Exec(context.Context, []string, time.Duration) (int32, []byte, error) {
	return c.code, []byte(c.output), c.err
}

func do(t *testing.T, a wire.Action, timeout time.Duration, in probe.Execer) probe.Outcome {
	t.Helper()
	return probe.Do(t.Context(), wire.Probe{Action: a, Timeout: timeout}, probe.Target{Execer: in, Address: "127.0.0.1"})
}

func TestACommandIsHealthyByItsExitCode(t *testing.T) {
	broken := errors.New("no such command")
	tests := map[string]struct {
		command command
		want    probe.Outcome
	}{
		"0 is healthy":                   {command{output: "fine"}, probe.Outcome{Result: probe.Success, Output: "fine"}},
		"another one is not":             {command{code: 2, output: "oh 100%"}, probe.Outcome{Result: probe.Failure, Output: "oh 100%"}},
		"too long is not":                {command{err: probe.ErrTimeout}, probe.Outcome{Result: probe.Failure, Output: `command timed out: "check it" timed out after 3s`}},
		"what can't be run says nothing": {command{err: broken}, probe.Outcome{Result: probe.Unknown, Err: broken}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tt.want, do(t, wire.Action{Exec: []string{"check", "it"}}, 3*time.Second, tt.command))
		})
	}
}

func TestAProbeWithoutAnActionSaysNothing(t *testing.T) {
	require.Error(t, do(t, wire.Action{}, time.Second, nil).Err)
}

func portOf(t *testing.T, address string) uint16 {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	n, err := strconv.ParseUint(port, 10, 16)
	require.NoError(t, err)
	return uint16(n)
}

// closed is a port where nobody listens.
func closed(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return portOf(t, l.Addr().String())
}

func TestTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	require.Equal(t, probe.Success, do(t, wire.Action{TCP: &wire.TCPAction{Port: portOf(t, l.Addr().String())}}, patience, nil).Result)
	got := do(t, wire.Action{TCP: &wire.TCPAction{Port: closed(t), Host: "localhost"}}, patience, nil)
	require.Equal(t, probe.Failure, got.Result)
	require.Contains(t, got.Output, "connection refused")
}

// site answers requests as their paths say.
func site(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/elsewhere":
		http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
	case "/here":
		http.Redirect(w, r, "/?x=1", http.StatusMovedPermanently)
	case "/round":
		http.Redirect(w, r, "/round", http.StatusFound)
	case "/slow":
		<-r.Context().Done()
	case "/long":
		_, _ = io.WriteString(w, strings.Repeat("x", 100_000))
	case "/status":
		code, _ := strconv.Atoi(r.URL.RawQuery)
		w.WriteHeader(code)
	default:
		fmt.Fprintf(w, "%s %s %s agent=%s accept=%q x=%q", r.Host, r.URL, r.Proto,
			r.UserAgent(), r.Header["Accept"], r.Header["X"])
	}
}

func TestHTTP(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(site))
	defer server.Close()
	secure := httptest.NewUnstartedServer(http.HandlerFunc(site))
	secure.EnableHTTP2 = true
	secure.StartTLS()
	defer secure.Close()
	modern := plainHTTP2(http.HandlerFunc(site))
	defer modern.Close()
	address := server.Listener.Addr().String()
	tests := map[string]struct {
		action  wire.HTTPAction
		timeout time.Duration
		result  probe.Result
		output  string
	}{
		"a plain path": {
			wire.HTTPAction{Path: "/a?b=c"},
			patience, probe.Success,
			address + ` /a?b=c HTTP/1.1 agent=kube-probe/1.37 accept=["*/*"] x=[]`,
		},
		"headers, with a host and some twice": {
			wire.HTTPAction{Headers: []wire.HTTPHeader{
				{Name: "host", Value: "example.com"},
				{Name: "X", Value: "1"},
				{Name: "x", Value: "2"},
				{Name: "user-agent", Value: "mine"},
				{Name: "Accept"},
			}},
			patience, probe.Success, `example.com / HTTP/1.1 agent=mine accept=[] x=["1" "2"]`,
		},
		"TLS without a name": {
			wire.HTTPAction{Scheme: "https", Port: portOf(t, secure.Listener.Addr().String())}, patience, probe.Success, " / HTTP/2.0 ",
		},
		"HTTP/2 without TLS": {
			wire.HTTPAction{HTTP2: true, Port: portOf(t, modern.Listener.Addr().String())}, patience, probe.Success, " / HTTP/2.0 ",
		},
		"HTTP/2 without TLS where the server has HTTP/1 only": {wire.HTTPAction{HTTP2: true}, patience, probe.Failure, "http2: "},
		"a redirect on the same host":                         {wire.HTTPAction{Path: "/here"}, patience, probe.Success, "/?x=1"},
		"a redirect to another host": {
			wire.HTTPAction{Path: "/elsewhere"}, patience, probe.Warning, "Probe terminated redirects, Response body: <a href",
		},
		"a redirect without end": {wire.HTTPAction{Path: "/round"}, patience, probe.Failure, "stopped after 10 redirects"},
		"204":                    {wire.HTTPAction{Path: "/status?204"}, patience, probe.Success, ""},
		"304":                    {wire.HTTPAction{Path: "/status?304"}, patience, probe.Warning, ""},
		"400":                    {wire.HTTPAction{Path: "/status?400"}, patience, probe.Failure, "HTTP probe failed with statuscode: 400"},
		"503":                    {wire.HTTPAction{Path: "/status?503"}, patience, probe.Failure, "HTTP probe failed with statuscode: 503"},
		"an answer that takes too long": {
			wire.HTTPAction{Path: "/slow"}, 50 * time.Millisecond, probe.Failure, "Client.Timeout exceeded",
		},
		"HTTP where TLS is asked for": {
			wire.HTTPAction{Scheme: "https"}, patience, probe.Failure, "server gave HTTP response to HTTPS client",
		},
		"nobody there": {wire.HTTPAction{Port: closed(t)}, patience, probe.Failure, "connection refused"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if tt.action.Port == 0 {
				tt.action.Port = portOf(t, address)
			}
			got := do(t, wire.Action{HTTP: &tt.action}, tt.timeout, nil)
			require.NoError(t, got.Err)
			assert.Equal(t, tt.result, got.Result, got.Output)
			assert.Contains(t, got.Output, tt.output)
		})
	}
	t.Run("an answer without end", func(t *testing.T) {
		got := do(t, wire.Action{HTTP: &wire.HTTPAction{Port: portOf(t, address), Path: "/long"}}, patience, nil)
		assert.Equal(t, probe.Success, got.Result)
		assert.Len(t, got.Output, 10<<10)
	})
}

// plainHTTP2 serves HTTP/2 without TLS, and nothing else.
func plainHTTP2(h http.Handler) *httptest.Server {
	server := httptest.NewUnstartedServer(h)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	return server
}

func TestAPathThatIsNoURLIsPassedOn(t *testing.T) {
	r, err := probe.Request(t.Context(), wire.HTTPAction{Path: "/%zz", Port: 80}, "10.0.0.1", "x")
	require.NoError(t, err)
	require.Equal(t, &url.URL{Scheme: "http", Host: "10.0.0.1:80", Path: "/%zz"}, &url.URL{Scheme: r.URL.Scheme, Host: r.URL.Host, Path: r.URL.Path})
}

// grpcServer serves gRPC, with the health service if there is one.
func grpcServer(t *testing.T, service *health.Server, options ...grpc.ServerOption) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := grpc.NewServer(options...)
	if service != nil {
		healthpb.RegisterHealthServer(server, service)
	}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	return portOf(t, l.Addr().String())
}

func TestGRPC(t *testing.T) {
	service := health.NewServer()
	service.SetServingStatus("good", healthpb.HealthCheckResponse_SERVING)
	service.SetServingStatus("bad", healthpb.HealthCheckResponse_NOT_SERVING)
	service.SetServingStatus("odd", healthpb.HealthCheckResponse_UNKNOWN)
	healthy, bare := grpcServer(t, service), grpcServer(t, nil)
	pair := httptest.NewTLSServer(nil)
	pair.Close()
	secure := grpcServer(t, service, grpc.Creds(credentials.NewServerTLSFromCert(&pair.TLS.Certificates[0])))
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	web := httptest.NewServer(http.HandlerFunc(site))
	defer web.Close()
	tests := map[string]struct {
		action  wire.GRPCAction
		timeout time.Duration
		result  probe.Result
		output  string
	}{
		"the server as a whole": {wire.GRPCAction{Port: healthy}, patience, probe.Success, "service healthy"},
		"a service":             {wire.GRPCAction{Port: healthy, Service: "good"}, patience, probe.Success, "service healthy"},
		"a service that is not well": {
			wire.GRPCAction{Port: healthy, Service: "bad"}, patience, probe.Failure, `service unhealthy (responded with "NOT_SERVING")`,
		},
		"a service of which nothing is known": {
			wire.GRPCAction{Port: healthy, Service: "odd"}, patience, probe.Failure, `service unhealthy (responded with "UNKNOWN")`,
		},
		"a service that is not there": {
			wire.GRPCAction{Port: healthy, Service: "no %"},
			patience, probe.Failure,
			"error: health rpc probe failed: rpc error: code = NotFound desc = unknown service",
		},
		"a server with TLS": {wire.GRPCAction{Port: secure, Service: "good", TLS: true}, patience, probe.Success, "service healthy"},
		"a server with TLS that is asked without": {
			wire.GRPCAction{Port: secure, Service: "good"}, patience, probe.Failure, "error: failed to connect service at ",
		},
		"a server without TLS that is asked with it": {
			wire.GRPCAction{Port: healthy, TLS: true}, patience, probe.Failure, "error: failed to connect service at ",
		},
		"a server without the health service": {
			wire.GRPCAction{Port: bare},
			patience, probe.Failure,
			"error: this server does not implement the grpc health protocol (grpc.health.v1.Health): ",
		},
		"a server that says nothing": {
			wire.GRPCAction{Port: portOf(t, silent.Addr().String())},
			100 * time.Millisecond, probe.Failure,
			"timeout: health rpc did not complete within 100ms",
		},
		"a web server": {
			wire.GRPCAction{Port: portOf(t, web.Listener.Addr().String())}, patience, probe.Failure, "error: failed to connect service at ",
		},
		"nobody there": {wire.GRPCAction{Port: closed(t)}, patience, probe.Failure, "connection refused"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := do(t, wire.Action{GRPC: &tt.action}, tt.timeout, nil)
			require.NoError(t, got.Err)
			assert.Equal(t, tt.result, got.Result, got.Output)
			assert.Contains(t, got.Output, tt.output)
		})
	}
}

// TestGRPCRefusesWhatIsNoAnswer has a server that speaks HTTP/2 and says all kinds of things.
func TestGRPCRefusesWhatIsNoAnswer(t *testing.T) {
	for body, output := range map[string]string{
		"":                                      "no message",
		"\x00\x00\x00\x00\x00":                  `responded with "UNKNOWN"`,
		"\x01\x00\x00\x00\x02\x08\x01":          "no message",
		"\x00\x00\x00\x00\x02\x10\x01":          "another kind",
		"\x00\x00\x00\x00\x02\x08":              "another kind",
		"\x00\x00\x00\x00\x02\x08\x63":          `responded with "99"`,
		strings.Repeat("x", 10_000):             `grpc-status is ""`,
		"\x00\x00\x00\x00\x02\x08\x01 and more": "service healthy",
	} {
		server := plainHTTP2(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Trailer", "Grpc-Status")
			_, _ = io.WriteString(w, body)
			w.Header().Set("Grpc-Status", "0")
		}))
		got := do(t, wire.Action{GRPC: &wire.GRPCAction{Port: portOf(t, server.Listener.Addr().String())}}, patience, nil)
		server.Close()
		assert.Contains(t, got.Output, output, "%.20q", body)
	}
}
