package probe_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/probe"
	"github.com/virtual-kubelet/vic/guest/wire"
)

type hookCommand struct {
	code int32
	err  error
}

func (c hookCommand) Exec(_ context.Context, _ []string, timeout time.Duration) (int32, []byte, error) {
	if timeout != 0 {
		return 0, nil, errors.New("a hook has no bound of its own")
	}
	return c.code, []byte("said"), c.err
}

func TestAHooksCommandFailsByItsExitCode(t *testing.T) {
	broken := errors.New("no such command")
	action := wire.Action{Exec: []string{"a", "b"}}
	run := func(c hookCommand) error { return probe.Hook(t.Context(), action, probe.Target{Execer: c}) }
	require.NoError(t, run(hookCommand{}))
	require.EqualError(t, run(hookCommand{code: 3}), `run ["a" "b"]: exit code 3: said`)
	require.ErrorIs(t, run(hookCommand{err: broken}), broken)
}

func TestAHooksRequestWantsAnAnswerOnly(t *testing.T) {
	agents := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		agents <- r.UserAgent() + " " + r.Header.Get("Authorization")
		w.WriteHeader(http.StatusTeapot)
	}))
	defer server.Close()
	_, text, err := net.SplitHostPort(server.Listener.Addr().String())
	require.NoError(t, err)
	port, err := strconv.ParseUint(text, 10, 16)
	require.NoError(t, err)
	get := func(scheme string) error {
		return probe.Hook(t.Context(), wire.Action{HTTP: &wire.HTTPAction{
			Scheme: scheme, Port: uint16(port), Headers: []wire.HTTPHeader{{Name: "Authorization", Value: "secret"}},
		}}, probe.Target{Address: "127.0.0.1"})
	}
	require.NoError(t, get("http"), "whatever the answer is")
	assert.Equal(t, "kube-lifecycle/1.37 secret", <-agents)
	require.ErrorIs(t, get("https"), probe.ErrPlain)
	assert.Equal(t, "kube-lifecycle/1.37 ", <-agents, "secrets need TLS")
	server.Close()
	require.ErrorContains(t, get("http"), "connection refused")
}

func TestARequestOverHTTP2WithoutTLS(t *testing.T) {
	asked := make(chan string, 1)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.Proto }))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	defer server.Close()
	address := netip.MustParseAddrPort(server.Listener.Addr().String())
	require.NoError(t, probe.Hook(t.Context(), wire.Action{HTTP: &wire.HTTPAction{
		Scheme: "http", Port: address.Port(), HTTP2: true,
	}}, probe.Target{Address: address.Addr().String()}))
	require.Equal(t, "HTTP/2.0", <-asked)
}

func TestAHookMayBeAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		require.NoError(t, probe.Hook(t.Context(), wire.Action{Sleep: 5 * time.Second}, probe.Target{}))
		assert.Equal(t, 5*time.Second, time.Since(began))
		require.NoError(t, probe.Hook(t.Context(), wire.Action{}, probe.Target{}), "a pause of nothing")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, probe.Hook(ctx, wire.Action{Sleep: time.Hour}, probe.Target{}), context.DeadlineExceeded)
	})
}

func TestAProbeIsNoHook(t *testing.T) {
	require.Error(t, probe.Hook(t.Context(), wire.Action{TCP: &wire.TCPAction{Port: 1}}, probe.Target{}))
}
