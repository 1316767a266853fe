package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHelloAnswersWithItsName(t *testing.T) {
	server := httptest.NewServer(handler("pod-1"))
	defer server.Close()
	for path, want := range map[string]string{"/": "hello from pod-1\n", "/any": "hello from pod-1\n", "/healthz": "ok\n"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, http.NoBody)
		require.NoError(t, err)
		resp, err := server.Client().Do(req)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, want, string(body))
	}
}

func TestHelloSaysWhenItServesAndStopsWhenTold(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, "127.0.0.1:0", w) }()

	pod, err := os.Hostname()
	require.NoError(t, err)
	lines := bufio.NewScanner(r)
	require.True(t, lines.Scan())
	require.Equal(t, "hello: serving on 127.0.0.1:0 as "+pod, lines.Text())
	cancel()
	require.True(t, lines.Scan())
	require.Equal(t, "hello: stopped", lines.Text())
	require.NoError(t, <-ended)
}

func TestHelloFailsWhereItCannotListen(t *testing.T) {
	require.Error(t, run(t.Context(), "127.0.0.1:none", io.Discard))
}
