package channel_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/yamux"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/channel"
	"github.com/virtual-kubelet/vic/guest/wire"
)

// nopCloser keeps a port open when its host connection is closed.
type nopCloser struct{ io.ReadWriter }

func (nopCloser) Close() error { return nil }

func get(t *testing.T, host net.Conn) string {
	t.Helper()
	stream, err := wire.Connect(nopCloser{host})
	require.NoError(t, err)
	config := yamux.DefaultConfig()
	config.LogOutput = io.Discard
	session, err := yamux.Client(stream, config)
	require.NoError(t, err)
	client := http.Client{Transport: &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return session.Open() },
	}}
	resp, err := client.Get("http://guest/who")
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	// The host dies: it neither reads on nor says good-bye.
	require.NoError(t, host.SetDeadline(time.Now()))
	<-session.CloseChan()
	require.NoError(t, host.SetDeadline(time.Time{}))
	return string(b)
}

func TestServeAnswersOneHostAfterAnother(t *testing.T) {
	host, port := net.Pipe()
	served := make(chan error, 1)
	go func() {
		served <- channel.Serve(t.Context(), port, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "guest at "+r.URL.Path)
		}))
	}()
	for range 3 {
		require.Equal(t, "guest at /who", get(t, host))
	}
	require.NoError(t, host.Close())
	require.Error(t, <-served)
}

func TestOpenPortFindsItByName(t *testing.T) {
	sys, dev := t.TempDir(), t.TempDir()
	for device, name := range map[string]string{"vport1p0": "\n", "vport1p1": "other\n", "vport1p2": "vic.guest.0\n"} {
		dir := filepath.Join(sys, "class/virtio-ports", device)
		require.NoError(t, os.MkdirAll(dir, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "name"), []byte(name), 0o644))
	}
	go func() { // the node comes later
		<-time.After(20 * time.Millisecond)
		_ = syscall.Mkfifo(filepath.Join(dev, "vport1p2"), 0o600)
	}()
	p, err := channel.OpenPort(t.Context(), sys, dev, "vic.guest.0")
	require.NoError(t, err)
	defer p.Close()
	_, err = p.Write([]byte("hello"))
	require.NoError(t, err)
	b := make([]byte, 10)
	n, err := p.Read(b)
	require.NoError(t, err)
	require.Equal(t, "hello", string(b[:n]))

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = channel.OpenPort(ctx, sys, dev, "absent")
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestReadWaitsForAHost(t *testing.T) {
	sys, dev := t.TempDir(), t.TempDir()
	dir := filepath.Join(sys, "class/virtio-ports/vport0p1")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "name"), []byte("port"), 0o644))
	node := filepath.Join(dev, "vport0p1")
	require.NoError(t, os.WriteFile(node, nil, 0o600)) // an end of file at once, as without a host
	ctx, cancel := context.WithCancel(t.Context())
	p, err := channel.OpenPort(ctx, sys, dev, "port")
	require.NoError(t, err)
	defer p.Close()
	failed := make(chan error, 1)
	go func() {
		_, err := p.Read(make([]byte, 1))
		failed <- err
	}()
	select {
	case <-failed:
		require.Fail(t, "Read did not wait")
	case <-time.After(50 * time.Millisecond):
	}
	cancel()
	require.ErrorIs(t, <-failed, os.ErrClosed)
}
