package kubeletapi_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	utilexec "k8s.io/client-go/util/exec"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/operations"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
)

func TestWhatDoesNotRunIsRefusedInTheKubeletsWords(t *testing.T) {
	tests := map[string]struct {
		path    string
		err     error
		status  int
		message string
	}{
		"exec in a container that waits":   {"exec/n/p/c", fmt.Errorf("c: %w", portlayer.ErrNotRunning), 500, `container not found ("c")`},
		"exec in a container of no pod":    {"exec/n/p/x", fmt.Errorf("x: %w", portlayer.ErrNotFound), 500, `container not found ("x")`},
		"attach to a container that waits": {"attach/n/p/c", portlayer.ErrNotRunning, 500, `container not found ("c")`},
		"run in a container that waits":    {"run/n/p/c?cmd=ls", portlayer.ErrNotRunning, 500, `container not found ("c")`},
		"exec in a pod that is not there":  {"exec/n/x/c", portlayer.ErrNotFound, 404, "pod does not exist"},
		"a port of a pod that has no VM":   {"portForward/n/p", portlayer.ErrNotRunning, 500, `pod not found ("p_n")`},
		"a port of a pod that is not":      {"portForward/n/x", portlayer.ErrNotFound, 404, "pod does not exist"},
		"anything else":                    {"exec/n/p/c", errors.New("disk on fire"), 500, "disk on fire"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, _ := newServer(t, &containers{running: tt.err}, "create proxy")
			answer := ask(t, s, http.MethodPost, "/"+tt.path)
			assert.Equal(t, tt.status, answer.Code)
			assert.Equal(t, tt.message, answer.Body.String())
		})
	}
}

// stream runs a command through the API as the API server does.
func stream(t *testing.T, c *containers, o remotecommand.StreamOptions) error {
	t.Helper()
	s, _ := newServer(t, c, "create proxy")
	server := httptest.NewServer(s.Handler())
	defer server.Close()
	u, err := url.Parse(server.URL + "/exec/n/p/c?command=x&output=1&error=1")
	require.NoError(t, err)
	executor, err := remotecommand.NewSPDYExecutor(&rest.Config{Host: server.URL, BearerToken: "known"}, http.MethodPost, u)
	require.NoError(t, err)
	return executor.StreamWithContext(t.Context(), o)
}

func TestExecOverSPDY(t *testing.T) {
	ends := func(exit wire.Exit, err error) *containers {
		return &containers{exec: func(_ context.Context, _ operations.Container, _ wire.Exec, s podvm.Stdio) (wire.Exit, error) {
			_, writeErr := io.WriteString(s.Stdout, "out")
			return exit, errors.Join(err, writeErr)
		}}
	}
	var out, errs bytes.Buffer
	streams := remotecommand.StreamOptions{Stdout: &out, Stderr: &errs}
	t.Run("output and success come back", func(t *testing.T) {
		require.NoError(t, stream(t, ends(wire.Exit{}, nil), streams))
		assert.Equal(t, "out", out.String())
	})
	t.Run("the exit code comes back", func(t *testing.T) {
		var exit utilexec.CodeExitError
		require.ErrorAs(t, stream(t, ends(wire.Exit{Code: 42}, nil), streams), &exit)
		assert.Equal(t, 42, exit.Code)
	})
	t.Run("a container that does not run is refused before the upgrade", func(t *testing.T) {
		err := stream(t, &containers{running: portlayer.ErrNotRunning}, streams)
		require.Error(t, err)
		assert.Contains(t, err.Error(), `unable to upgrade connection: container not found ("c")`)
	})
	t.Run("a container that ends meanwhile is named", func(t *testing.T) {
		err := stream(t, ends(wire.Exit{}, fmt.Errorf("exec in pod VM 1: %w", portlayer.ErrNotRunning)), streams)
		require.Error(t, err)
		assert.Contains(t, err.Error(), `container not found ("c")`)
		assert.Equal(t, 1, strings.Count(err.Error(), "Internal error"))
	})
}
