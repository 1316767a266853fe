//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// member is a `vic node` that has joined the shared cluster, so that its API server stays when it is killed. As a cluster
// it is its state directory with the API server of the shared one.
type member struct {
	*cluster
	name       string
	credential string
	config     string
}

// join starts a node with further lines of configuration, and takes everything of it away when the test ends.
func join(t *testing.T, name string, settings ...string) *member {
	t.Helper()
	m := enlist(t, name, t.TempDir(), settings...)
	shared.nodeCredential(t, name, m.credential)
	m.importImage(t)
	m.begin(t)
	shared.approve(t, name)
	return m
}

// enlist prepares a node whose state is in dir and does not start it. Its credential is to be written. Settings are lines of its
// file: those of its VCH are indented.
func enlist(t *testing.T, name, dir string, settings ...string) *member {
	t.Helper()
	m := &member{cluster: newCluster(filepath.Join(dir, "s")), name: name}
	m.credential, m.config = filepath.Join(t.TempDir(), "kubeconfig"), filepath.Join(t.TempDir(), "node.yaml")
	m.client = shared.client
	require.NoError(t, os.MkdirAll(m.dir, 0o700))
	require.NoError(t, os.Symlink(shared.kubeconfig(), m.kubeconfig()))
	t.Cleanup(func() {
		m.purge(t)
		err := m.client.CoreV1().Nodes().Delete(context.Background(), name, metav1.DeleteOptions{})
		require.NoError(t, err)
	})
	if *onVSphere && !slices.Contains(settings, "  vsphere:") {
		settings = append(settings, m.onVCenter(t)...)
	}
	process := []string{"dir: " + m.dir, "accel: " + shared.accel(t)}
	vch := []string{"vch:", "  name: " + name, fmt.Sprintf("  port: %d", freePort(t))}
	for _, line := range settings {
		if strings.HasPrefix(line, " ") {
			vch = append(vch, line)
		} else {
			process = append(process, line)
		}
	}
	require.NoError(t, os.WriteFile(m.config, []byte(strings.Join(append(process, vch...), "\n")+"\n"), 0o600))
	return m
}

// begin runs the node and waits until it is Ready.
func (m *member) begin(t *testing.T) {
	t.Helper()
	m.startNode(t, m.credential, m.config)
	m.awaitReady(t)
}

func (m *member) awaitReady(t *testing.T) {
	t.Helper()
	m.eventually(t, "node "+m.name+" is Ready", func(context.Context) (bool, string) {
		select {
		case err := <-m.ended:
			require.Fail(t, "vic node ended", "%v: %s", err, m.out)
		default:
		}
		return strings.Contains(m.out.String(), "node became Ready"), ""
	})
}

// pod makes a pod for the node, small and without a scheduler's help.
func (m *member) pod(namespace, name, script string, change ...func(*corev1.Pod)) *corev1.Pod {
	return pod(namespace, name, script, append([]func(*corev1.Pod){small, func(p *corev1.Pod) { p.Spec.NodeName = m.name }}, change...)...)
}

// freePorts are below those that `vic up` takes, and those that the kernel gives to whoever asks for any: between the look
// for a port and its use nobody takes it.
const firstFreePort, lastFreePort = 10_000, 16_383

// givenPorts is how many of them were given out.
var givenPorts atomic.Int32

// freePort is a port that nobody listens on, and that no other test gets.
func freePort(t *testing.T) int {
	t.Helper()
	// Tests of other processes begin elsewhere.
	first := firstFreePort + os.Getpid()%60*100
	for {
		port := first + int(givenPorts.Add(1))
		require.LessOrEqual(t, port, lastFreePort, "no free port")
		l, err := net.Listen("tcp", ":"+strconv.Itoa(port))
		if err == nil {
			require.NoError(t, l.Close())
			return port
		}
	}
}

// settles is eventually with a time of its own, for what takes as long as the machine is slow.
func (c *cluster) settles(t *testing.T, within time.Duration, what string, is func() (ok bool, seen string)) {
	t.Helper()
	deadline := time.After(within)
	tick := time.NewTicker(4 * interval)
	defer tick.Stop()
	for {
		ok, seen := is()
		if ok {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			require.Fail(t, "never: "+what, "last seen: %s\nvic said:\n%s", seen, c.out)
		}
	}
}
