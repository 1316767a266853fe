package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	// binaryEnv names the program under test; where it is not set, one is built.
	binaryEnv = "VIC_CONTROLPLANE_BINARY"

	// readyLimit and stopLimit hold on a machine that is busy with other tests. An open watch that is waited for takes longer
	// than stopLimit.
	readyLimit = 2 * time.Minute
	stopLimit  = 45 * time.Second
)

var binDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "vic-controlplane-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binDir = dir
	code := 1
	if err := install(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		code = m.Run()
	}
	_ = os.RemoveAll(dir) // nothing depends on it
	os.Exit(code)
}

// install puts the program under both of its names into dir.
func install(dir string) error {
	target := filepath.Join(dir, "vic-controlplane")
	if binary := os.Getenv(binaryEnv); binary != "" {
		abs, err := filepath.Abs(binary)
		if err != nil {
			return err
		}
		if err := os.Symlink(abs, target); err != nil {
			return err
		}
	} else if err := build(target); err != nil {
		return err
	}
	return os.Symlink(target, filepath.Join(dir, "kubectl"))
}

func build(target string) error {
	version, err := kubernetesVersion()
	if err != nil {
		return err
	}
	variables := "k8s.io/component-base/version."
	flags := "-X " + variables + "gitVersion=" + version + " -X " + variables + "gitMajor=1 -X " + variables + "gitMinor=" + strings.Split(version, ".")[1]
	cmd := exec.Command("go", "build", "-ldflags", flags, "-o", target, "../cmd/vic-controlplane")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the program under test: %w\n%s", err, output)
	}
	return nil
}

// kubernetesVersion is the one that go.mod requires.
func kubernetesVersion() (string, error) {
	output, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes").Output()
	if err != nil {
		return "", fmt.Errorf("read the version of Kubernetes from go.mod: %w", err)
	}
	return strings.TrimSpace(string(output)), nil
}

// result is what a program left behind.
type result struct {
	stdout, stderr string
	code           int
}

// run runs a program of binDir to its end.
func run(t *testing.T, name string, args ...string) result {
	t.Helper()
	return runInput(t, "", name, args...)
}

func runInput(t *testing.T, input, name string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), readyLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(binDir, name), args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &stdout, &stderr
	err := cmd.Run()
	if cmd.ProcessState == nil {
		require.NoError(t, err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// plane is a control plane that was started.
type plane struct {
	dir    string
	url    string
	cmd    *exec.Cmd
	stderr *bytes.Buffer
	exited chan struct{} // closed when cmd has been waited for
}

// start returns once the ready line has come.
func start(t *testing.T, dir string, args ...string) *plane {
	t.Helper()
	p := &plane{dir: dir, stderr: &bytes.Buffer{}, exited: make(chan struct{})}
	p.cmd = exec.Command(filepath.Join(binDir, "vic-controlplane"), append([]string{"--dir", dir}, args...)...)
	p.cmd.Stderr = p.stderr
	stdout, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() { p.kill() })

	line := make(chan string, 1)
	go func() {
		// The end of the process ends it.
		reader := bufio.NewReader(stdout)
		text, _ := reader.ReadString('\n')
		line <- text
		_ = p.cmd.Wait() // the exit code is looked at where it matters
		close(p.exited)
	}()
	select {
	case text := <-line:
		url, ok := strings.CutPrefix(strings.TrimSpace(text), "ready ")
		require.True(t, ok, "instead of the ready line: %q; on standard error: %s", text, p.stderr)
		p.url = url
	case <-time.After(readyLimit):
		require.FailNow(t, "not ready in time")
	}
	return p
}

func (p *plane) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.exited
}

// signal sends sig and returns the exit code.
func (p *plane) signal(t *testing.T, sig os.Signal) int {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(sig))
	select {
	case <-p.exited:
	case <-time.After(stopLimit):
		require.FailNow(t, "not stopped in time")
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *plane) file(elem ...string) string {
	return filepath.Join(append([]string{p.dir}, elem...)...)
}

// kubectl runs as the administrator, and must succeed.
func (p *plane) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	r := p.try(t, "admin.kubeconfig", args...)
	require.Zero(t, r.code, "kubectl %s: %s", strings.Join(args, " "), r.stderr)
	return strings.TrimSpace(r.stdout)
}

// asNode runs as the node.
func (p *plane) asNode(t *testing.T, args ...string) result {
	t.Helper()
	return p.try(t, "vic-node.kubeconfig", args...)
}

func (p *plane) try(t *testing.T, kubeconfig string, args ...string) result {
	t.Helper()
	return run(t, "kubectl", append([]string{"--kubeconfig", p.file(kubeconfig)}, args...)...)
}

// eventually repeats a question until it is answered with want.
func eventually(t *testing.T, want string, question func() string) {
	t.Helper()
	var last string
	require.Eventually(t, func() bool {
		last = question()
		return last == want
	}, 30*time.Second, 200*time.Millisecond, "want %s", want)
}
