package main

import (
	"bufio"
	"bytes"
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

func TestHelloSaysWhenItServesAndStopsOnRequest(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, "127.0.0.1:0", w) }()

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
	require.Error(t, serve(t.Context(), "127.0.0.1:none", io.Discard))
}

func TestFetchPrintsThePage(t *testing.T) {
	server := httptest.NewServer(handler("pod-1"))
	defer server.Close()
	var page bytes.Buffer
	require.NoError(t, fetch(t.Context(), server.URL, &page))
	require.Equal(t, "hello from pod-1\n", page.String())
}

func TestFetchFailsWithoutAPage(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	tests := map[string]struct {
		args []string
		says string
	}{
		"the server has no such page":    {[]string{server.URL}, "404 Not Found"},
		"nobody listens":                 {[]string{gone.URL}, "connection refused"},
		"the URL is none":                {[]string{"no://page"}, "unsupported protocol"},
		"the command line names no page": {nil, "usage"},
		"the command line names two":     {[]string{server.URL, server.URL}, "usage"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			require.ErrorContains(t, call(t.Context(), "fetch", tt.args), tt.says)
		})
	}
}
