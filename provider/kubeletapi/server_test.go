package kubeletapi_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/operations"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
)

func TestPages(t *testing.T) {
	s, _ := newServer(t, &containers{}, "get proxy", "get metrics", "get stats")
	for path, want := range map[string]string{
		"/healthz": "ok",
		"/configz": `{"vic":{"node":"v"}}` + "\n",
		"/metrics": "",

		"/metrics/resource": "# TYPE m gauge\nm 1\n",
		"/stats/summary":    `{"node":{"nodeName":"v","startTime":null},"pods":null}`,
	} {
		answer := ask(t, s, http.MethodGet, path)
		assert.Equal(t, http.StatusOK, answer.Code, path)
		assert.Equal(t, want, answer.Body.String(), path)
	}
	for _, path := range []string{"/pods", "/pods/"} {
		answer := ask(t, s, http.MethodGet, path)
		if answer.Code == http.StatusMovedPermanently {
			answer = ask(t, s, http.MethodGet, answer.Header().Get("Location"))
		}
		assert.Equal(t, http.StatusOK, answer.Code, path)
		assert.Contains(t, answer.Body.String(), `"kind":"PodList"`, path)
	}
	assert.Equal(t, http.StatusNotFound, ask(t, s, http.MethodGet, "/elsewhere").Code)
}

func TestRun(t *testing.T) {
	tests := map[string]struct {
		query  string
		exit   wire.Exit
		err    error
		status int
		body   string
	}{
		"output comes back":          {"cmd=echo+a", wire.Exit{}, nil, 200, "echo|a"},
		"a failure is shown":         {"cmd=x", wire.Exit{Code: 3}, nil, 500, "exit code 3\n"},
		"a missing command is named": {"cmd=x", wire.Exit{Code: 127, Error: "no such file"}, nil, 500, "no such file\n"},
		"no command is a mistake":    {"", wire.Exit{}, nil, 400, "cmd is empty\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, _ := newServer(t, &containers{exec: func(_ context.Context, _ operations.Container, e wire.Exec, s podvm.Stdio) (wire.Exit, error) {
				_, err := io.WriteString(s.Stdout, strings.Join(e.Args, "|"))
				return tt.exit, errors.Join(err, tt.err)
			}}, "create proxy")
			answer := ask(t, s, http.MethodPost, "/run/n/p/c?"+tt.query)
			assert.Equal(t, tt.status, answer.Code)
			assert.Equal(t, tt.body, answer.Body.String())
		})
	}
	t.Run("output is bounded", func(t *testing.T) {
		s, _ := newServer(t, &containers{exec: func(_ context.Context, _ operations.Container, _ wire.Exec, s podvm.Stdio) (wire.Exit, error) {
			for range 3 {
				if _, err := s.Stderr.Write(bytes.Repeat([]byte("x"), 1<<20-1)); err != nil {
					return wire.Exit{}, err
				}
			}
			return wire.Exit{}, nil
		}}, "create proxy")
		assert.Equal(t, 1<<20, ask(t, s, http.MethodPost, "/run/n/p/c?cmd=yes").Body.Len())
	})
}

func TestServeEndsWithItsContext(t *testing.T) {
	s, _ := newServer(t, &containers{})
	l := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { // ends with ctx
		done <- s.Serve(ctx, l)
	}()
	conn, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(t.Context(), "tcp", l.Addr().String())
	require.Error(t, err, "there is no certificate")
	assert.Nil(t, conn)
	cancel()
	require.NoError(t, <-done)

	require.Error(t, s.Serve(t.Context(), l), "it is closed")
}
