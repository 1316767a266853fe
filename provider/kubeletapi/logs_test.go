package kubeletapi_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/operations"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
)

func TestLogOptions(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	tests := map[string]struct {
		query string
		want  podvm.LogOptions
	}{
		"nothing asked is the whole log": {"", podvm.LogOptions{}},
		"no line from the past":          {"tailLines=0&follow=true", podvm.LogOptions{OnlyNew: true, Follow: true}},
		"a limit beyond 2 GiB":           {"limitBytes=3000000000&tailLines=5000000000", podvm.LogOptions{LimitBytes: 3_000_000_000, Tail: 5_000_000_000}},
		"everything asked": {
			"follow=true&previous=true&timestamps=true&tailLines=7&limitBytes=9&sinceTime=2026-01-02T03:04:05Z",
			podvm.LogOptions{Follow: true, Previous: true, Timestamps: true, Tail: 7, LimitBytes: 9, Since: at},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var got podvm.LogOptions
			s, _ := newServer(t, &containers{logs: func(_ context.Context, of operations.Container, o podvm.LogOptions) (io.ReadCloser, error) {
				assert.Equal(t, operations.Container{Namespace: "n", Name: "p", Container: "c"}, of)
				got = o
				return io.NopCloser(strings.NewReader("a line\n")), nil
			}}, "get proxy")
			answer := ask(t, s, http.MethodGet, "/containerLogs/n/p/c?"+tt.query)
			require.Equal(t, http.StatusOK, answer.Code)
			assert.Equal(t, "a line\n", answer.Body.String())
			assert.Equal(t, tt.want, got)
		})
	}
}

func TestSinceSeconds(t *testing.T) {
	var got podvm.LogOptions
	s, _ := newServer(t, &containers{logs: func(_ context.Context, _ operations.Container, o podvm.LogOptions) (io.ReadCloser, error) {
		got = o
		return io.NopCloser(strings.NewReader("")), nil
	}}, "get proxy")

	before := time.Now()
	ask(t, s, http.MethodGet, "/containerLogs/n/p/c?sinceSeconds=60")
	assert.WithinRange(t, got.Since.Add(time.Minute), before, time.Now())

	ask(t, s, http.MethodGet, "/containerLogs/n/p/c?sinceSeconds=9223372036854775807")
	assert.True(t, got.Since.Before(time.Unix(0, 0)), "further back than any log: %s", got.Since)
}

func TestBadLogOptionsAreNamed(t *testing.T) {
	s, _ := newServer(t, &containers{}, "get proxy")
	for query, want := range map[string]string{
		"tailLines=-1":    `tailLines is "-1", not a number from 0 on`,
		"tailLines=many":  `tailLines is "many", not a number from 0 on`,
		"limitBytes=0":    `limitBytes is "0", not a number from 1 on`,
		"sinceSeconds=0":  `sinceSeconds is "0", not a number from 1 on`,
		"follow=perhaps":  `follow is "perhaps", neither true nor false`,
		"sinceTime=today": `parsing time "today" as "2006-01-02T15:04:05Z07:00": cannot parse "today" as "2006"`,
		"sinceSeconds=1&sinceTime=2026-01-02T03:04:05Z": "sinceSeconds and sinceTime exclude each other",
	} {
		answer := ask(t, s, http.MethodGet, "/containerLogs/n/p/c?"+query)
		assert.Equal(t, http.StatusBadRequest, answer.Code, query)
		assert.Equal(t, want, answer.Body.String(), query)
	}
}

func TestMissingLogIsExplained(t *testing.T) {
	tests := map[string]struct {
		path    string
		err     error
		status  int
		message string
	}{
		"a container that waits":             {"n/p/c", portlayer.ErrNotFound, 400, `container "c" in pod "p" is waiting to start: ImagePullBackOff`},
		"a container without a status":       {"n/p/fresh", portlayer.ErrNotFound, 400, `container "fresh" in pod "p" is waiting to start: ContainerCreating`},
		"an init container":                  {"n/p/i", portlayer.ErrNotFound, 400, `container "i" in pod "p" is waiting to start: ContainerCreating`},
		"no former attempt":                  {"n/p/c?previous=true", portlayer.ErrNotFound, 400, `previous terminated container "c" in pod "p" not found`},
		"a container that is not the pod's":  {"n/p/x", portlayer.ErrNotFound, 400, `container x is not valid for pod p`},
		"no line of a pod that is not there": {"n/x/c?tailLines=0", portlayer.ErrNotFound, 404, `pod "x" does not exist`},
		"a pod that is not there":            {"n/x/c", portlayer.ErrNotFound, 404, `pod "x" does not exist`},
		"anything else":                      {"n/p/c", errors.New("disk on fire"), 500, "disk on fire"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, _ := newServer(t, &containers{logs: func(context.Context, operations.Container, podvm.LogOptions) (io.ReadCloser, error) {
				return nil, tt.err
			}}, "get proxy")
			answer := ask(t, s, http.MethodGet, "/containerLogs/"+tt.path)
			assert.Equal(t, tt.status, answer.Code)
			assert.Equal(t, tt.message, answer.Body.String())
		})
	}
}

func TestFollowedLogEndsWithItsReader(t *testing.T) {
	lines, writer := io.Pipe()
	s, _ := newServer(t, &containers{logs: func(context.Context, operations.Container, podvm.LogOptions) (io.ReadCloser, error) {
		return lines, nil
	}}, "get proxy")
	server := httptest.NewServer(s.Handler())
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/containerLogs/n/p/c?follow=true", nil)
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer known")
	answer, err := server.Client().Do(request)
	require.NoError(t, err, "the head comes before the first line")
	defer answer.Body.Close()

	_, err = io.WriteString(writer, "one\n")
	require.NoError(t, err)
	line := make([]byte, 4)
	_, err = io.ReadFull(answer.Body, line)
	require.NoError(t, err)
	assert.Equal(t, "one\n", string(line), "a line comes as soon as it is there")

	cancel()
	require.Eventually(t, func() bool {
		_, err := io.WriteString(writer, "two\n")
		return errors.Is(err, io.ErrClosedPipe)
	}, time.Minute, time.Millisecond, "nobody reads on")
}
