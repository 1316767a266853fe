//go:build e2e

package e2e_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// nobody is an ordinary user's id.
const nobody = 65534

// TestWithoutRoot runs a cluster as an ordinary user: pods reach out, and what needs a network of pods is refused by name.
func TestWithoutRoot(t *testing.T) {
	t.Parallel()
	c := upAs(t, nobody)
	assert.Contains(t, c.out.String(), "it reaches out, and nobody reaches it")

	node, err := c.client.CoreV1().Nodes().Get(t.Context(), "vic-local", metav1.GetOptions{})
	require.NoError(t, err)
	assert.Equal(t, "user", node.Labels["vic.virtual-kubelet.io/pod-network"])
	assert.Equal(t, corev1.NodeCondition{
		Type: corev1.NodeNetworkUnavailable, Status: corev1.ConditionFalse, Reason: "UserModeNetwork",
		Message: "without root each pod has a private network in QEMU's user mode: it reaches out, and nobody reaches it",
	}, condition(node, corev1.NodeNetworkUnavailable))

	typed := c.create(t, pod("default", "typed", "exec sh", interactive(true, false)))
	p := c.waitReady(t, c.create(t, pod("default", "rootless", "echo hello; exec /testpod serve :8000")))
	vm, ok := c.vm(t, p)
	require.True(t, ok)
	var process unix.Stat_t
	require.NoError(t, unix.Stat("/proc/"+strconv.Itoa(vm.PID), &process))
	assert.EqualValues(t, nobody, process.Uid, "QEMU is the user's")

	assert.Equal(t, "hello", next(t, c.follow(t, p)))
	assert.Equal(t, "from exec\n", c.kubectl(t, "exec", "rootless", "--", "echo", "from exec"))
	assert.Contains(t, c.forwarded(t, p, 8000, "/env"), "HOSTNAME=rootless")

	c.kubectl(t, "cp", imageArchive, "default/rootless:/tmp/there")
	back := filepath.Join(t.TempDir(), "back")
	c.kubectl(t, "cp", "--retries=0", "default/rootless:/tmp/there", back)
	assert.Equal(t, digestOf(t, imageArchive), digestOf(t, back))
	attached := c.session(t, "WebSocket", c.waitReady(t, typed), &corev1.PodAttachOptions{Container: "main", Stdin: true, Stdout: true, TTY: true})
	attached.enter(t, "echo $((6*7))\nexit\n")
	attached.expect(t, c, "42\r\n")
	require.NoError(t, attached.end(t))

	// The gateway of the private network stands for this machine, so that egress needs no other one.
	outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "egress") }))
	t.Cleanup(outside.Close)
	port := outside.Listener.Addr().(*net.TCPAddr).Port
	assert.Equal(t, "egress", c.kubectl(t, "exec", "rootless", "--", "wget", "-q", "-O", "-", "http://10.0.2.2:"+strconv.Itoa(port)+"/"))

	refused := c.create(t, pod("default", "named", sleepForever, func(p *corev1.Pod) { p.Spec.Hostname, p.Spec.Subdomain = "a", "b" }))
	c.waitPod(t, refused, "is refused", func(p *corev1.Pod) bool {
		s := p.Status.ContainerStatuses
		return len(s) == 1 && s[0].State.Waiting != nil && s[0].State.Waiting.Reason == "UnsupportedField" &&
			strings.Contains(s[0].State.Waiting.Message, "spec.subdomain")
	})

	c.delete(t, p)
	c.delete(t, typed)
	c.stop(t)
	assert.Empty(t, c.vms(t))
}

// upAs starts a cluster whose vic runs as that user, with programs that it may read.
func upAs(t *testing.T, user uint32) *cluster {
	t.Helper()
	dir, err := os.MkdirTemp("", "vic-user-") //nolint:usetesting // t.TempDir is below a directory of mode 0700
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, errors.Join(os.Chmod(dir, 0o755), os.Chown(dir, int(user), int(user))))
	programs, state := filepath.Join(dir, "bin"), filepath.Join(dir, "s")
	require.NoError(t, errors.Join(os.Mkdir(state, 0o700), os.Chown(state, int(user), int(user))))
	require.NoError(t, os.Mkdir(programs, 0o755))
	for _, name := range []string{"vic", "vic-controlplane", "guest"} {
		out, err := exec.Command("cp", "-r", "--reflink=auto", bin(name), programs).CombinedOutput()
		require.NoError(t, err, string(out))
	}
	archive := filepath.Join(dir, "image.tar")
	out, err := exec.Command("cp", imageArchive, archive).CombinedOutput()
	require.NoError(t, err, string(out))

	c := newCluster(state, "--accel", shared.accel(t))
	c.programs, c.user = programs, user
	t.Cleanup(func() { c.purge(t) })
	c.start(t)
	out, err = c.vic("image", "import", archive, testImage, "--dir", c.dir).CombinedOutput()
	require.NoError(t, err, string(out))
	return c
}

// condition returns the node's condition of that kind, without its times.
func condition(n *corev1.Node, kind corev1.NodeConditionType) corev1.NodeCondition {
	for _, c := range n.Status.Conditions {
		if c.Type == kind {
			return corev1.NodeCondition{Type: c.Type, Status: c.Status, Reason: c.Reason, Message: c.Message}
		}
	}
	return corev1.NodeCondition{}
}

// forwarded asks the pod for a path over kubectl port-forward.
func (c *cluster) forwarded(t *testing.T, p *corev1.Pod, port int, path string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := c.kubectlCommand(ctx, "-n", p.Namespace, "port-forward", p.Name, ":"+strconv.Itoa(port))
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer func() {
		cancel()
		_ = cmd.Wait() // it was killed
	}()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	address, _, ok := strings.Cut(strings.TrimPrefix(line, "Forwarding from "), " -> ")
	require.True(t, ok, line)
	return get(t, "http://"+address+path)
}
