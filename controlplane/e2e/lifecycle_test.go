package e2e_test

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const pollInterval = 100 * time.Millisecond

// status is the part of the command's answer that the tests look at.
type status struct {
	Running    bool   `json:"running"`
	State      string `json:"state"`
	PID        int    `json:"pid"`
	Endpoint   string `json:"endpoint"`
	Kubeconfig string `json:"kubeconfig"`
}

func statusOf(t *testing.T, dir string) status {
	t.Helper()
	r := run(t, "vic-controlplane", "status", "--dir", dir, "-o", "json")
	require.Zero(t, r.code, r.stderr)
	var s status
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &s))
	return s
}

func TestOneDirectoryHasOneControlPlane(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir())

	r := run(t, "vic-controlplane", "--dir", p.dir)

	assert.Equal(t, 1, r.code)
	assert.Empty(t, r.stdout)
	assert.Equal(t, "vic-controlplane: lock "+p.dir+": another control plane runs in it (process "+
		strconv.Itoa(p.cmd.Process.Pid)+")\n", r.stderr)
	assert.Equal(t, status{
		Running: true, State: "ready", PID: p.cmd.Process.Pid, Endpoint: p.url, Kubeconfig: p.file("admin.kubeconfig"),
	}, statusOf(t, p.dir))
}

func TestSeveralRunSideBySide(t *testing.T) {
	t.Parallel()
	one, two := start(t, t.TempDir()), start(t, t.TempDir())
	one.kubectl(t, "create", "ns", "only-in-one")
	assert.NotEqual(t, one.url, two.url)
	assert.NotContains(t, two.kubectl(t, "get", "ns", "-o", "name"), "only-in-one")
}

func TestRestartKeepsEverything(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		end func(t *testing.T, p *plane)
	}{
		"after SIGTERM": {func(t *testing.T, p *plane) {
			t.Helper()
			assert.Zero(t, p.signal(t, syscall.SIGTERM))
		}},
		"after SIGINT": {func(t *testing.T, p *plane) {
			t.Helper()
			assert.Zero(t, p.signal(t, os.Interrupt))
		}},
		"after SIGKILL": {func(_ *testing.T, p *plane) { p.kill() }},
		"after the command stop": {func(t *testing.T, p *plane) {
			t.Helper()
			r := run(t, "vic-controlplane", "stop", "--dir", p.dir)
			assert.Equal(t, result{stdout: "stopped\n"}, r)
			<-p.exited
			assert.Zero(t, p.cmd.ProcessState.ExitCode())
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, t.TempDir())
			p.kubectl(t, "create", "configmap", "kept", "--from-literal", "key=value")
			token := p.kubectl(t, "create", "token", "default")
			kubeconfig, err := os.ReadFile(p.file("admin.kubeconfig"))
			require.NoError(t, err)

			tt.end(t, p)
			assert.Equal(t, status{}, statusOf(t, p.dir))
			again := start(t, p.dir)

			assert.Equal(t, p.url, again.url, "the port is kept")
			assert.Equal(t, "value", again.kubectl(t, "get", "configmap", "kept", "-o", "jsonpath={.data.key}"))
			code, _ := get(t, again, again.url+"/api", token)
			assert.Equal(t, 200, code, "tokens stay good")
			after, err := os.ReadFile(again.file("admin.kubeconfig"))
			require.NoError(t, err)
			assert.Equal(t, string(kubeconfig), string(after))
			assert.FileExists(t, again.file("controlplane.log.1"))
		})
	}
}

func TestItOutlivesItsParentsPipes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.Command(filepath.Join(binDir, "vic-controlplane"), "--dir", dir)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	require.NoError(t, stdout.Close())
	require.NoError(t, stderr.Close())

	require.Eventually(t, func() bool { return statusOf(t, dir).State == "ready" }, readyLimit, pollInterval)

	r := run(t, "vic-controlplane", "stop", "--dir", dir)
	assert.Equal(t, "stopped\n", r.stdout)
	assert.NoError(t, cmd.Wait())
}

func TestItCanBeStoppedWhileItStarts(t *testing.T) {
	t.Parallel()
	for _, after := range []time.Duration{0, 200, 400, 800, 1600} {
		after *= time.Millisecond
		t.Run(after.String(), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			cmd := exec.Command(filepath.Join(binDir, "vic-controlplane"), "--dir", dir)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			require.NoError(t, cmd.Start())
			t.Cleanup(func() { _ = cmd.Process.Kill() })
			require.Eventually(t, func() bool { return statusOf(t, dir).Running }, readyLimit, pollInterval)
			<-time.After(after)

			require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))

			assert.NoError(t, cmd.Wait())
			assert.Empty(t, stderr.String())
			assert.False(t, statusOf(t, dir).Running)
		})
	}
}

func TestStopWithoutAnythingToStop(t *testing.T) {
	t.Parallel()
	assert.Equal(t, result{stdout: "not running\n"}, run(t, "vic-controlplane", "stop", "--dir", t.TempDir()))
	assert.Equal(t, result{stdout: "not running\n"}, run(t, "vic-controlplane", "status", "--dir", t.TempDir()))
}

// testStopUnderLoad has a watch open, which would hold the API server up for a minute.
func testStopUnderLoad(t *testing.T, p *plane) {
	t.Helper()
	watch := exec.Command(filepath.Join(binDir, "kubectl"), "--kubeconfig", p.file("admin.kubeconfig"),
		"get", "ns", "--watch", "-o", "name")
	stdout, err := watch.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, watch.Start())
	_, err = stdout.Read(make([]byte, 1))
	require.NoError(t, err)

	assert.Zero(t, p.signal(t, syscall.SIGTERM))
	assert.Empty(t, p.stderr.String())

	_, err = io.Copy(io.Discard, stdout)
	require.NoError(t, err)
	_ = watch.Wait() // that its server went away is not a success to it
}
