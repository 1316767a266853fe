//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// joinedNode is the node that TestNodeJoinsACluster adds.
const joinedNode = "joined"

// TestNodeJoinsACluster does what docs/node.md says, by hand of an administrator.
func TestNodeJoinsACluster(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	kubeconfig := filepath.Join(dir, "kubeconfig")
	shared.nodeCredential(t, joinedNode, kubeconfig)
	config := filepath.Join(dir, "node.yaml")
	state := filepath.Join(dir, "state")
	// The default port may be taken on the machine that runs the tests.
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil,
		"dir: %s\nvch: {name: %s, port: %d, labels: {rack: r1}}\n", state, joinedNode, freePort(t)), 0o600))
	// Only vms and importImage are used of it: its API server is the shared one.
	node := newCluster(state)
	node.importImage(t)
	begin := func() { node.startNode(t, kubeconfig, config) }
	begin()
	t.Cleanup(func() {
		node.purge(t)
		require.NoError(t, shared.client.CoreV1().Nodes().Delete(context.Background(), joinedNode, metav1.DeleteOptions{}))
	})

	shared.eventually(t, "the node is Ready", func(ctx context.Context) (bool, string) {
		n, err := shared.client.CoreV1().Nodes().Get(ctx, joinedNode, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		assert.Equal(t, "r1", n.Labels["rack"])
		assert.Equal(t, []corev1.Taint{{Key: "virtual-kubelet.io/provider", Value: "vic", Effect: corev1.TaintEffectNoSchedule}}, withoutLifecycle(n.Spec.Taints))
		return nodeReady(n), node.out.String()
	})
	shared.approve(t, joinedNode)

	ns := shared.namespace(t)
	p := shared.create(t, pod(ns, "tolerant", "echo on the joined node; "+sleepForever, func(p *corev1.Pod) {
		p.Spec.NodeSelector = map[string]string{"rack": "r1", "type": "virtual-kubelet"}
		p.Spec.Tolerations = []corev1.Toleration{{Key: "virtual-kubelet.io/provider", Operator: corev1.TolerationOpExists}}
	}))
	p = shared.waitReady(t, p)
	assert.Equal(t, joinedNode, p.Spec.NodeName)
	shared.eventually(t, "logs over the signed certificate", func(context.Context) (bool, string) {
		out, err := shared.tryKubectl(t, "-n", ns, "logs", "tolerant")
		return err == nil && out == "on the joined node\n", out
	})

	before, ok := node.vm(t, p)
	require.True(t, ok)
	require.NoError(t, node.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, <-node.ended, node.out.String())
	assert.Contains(t, node.out.String(), "node stopped, its pod VMs run on")
	assert.True(t, slices.ContainsFunc(joined(t).Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionFalse && c.Reason == "NodeShutdown"
	}), "nobody need wait for the end of its lease")
	after, ok := node.vm(t, p)
	require.True(t, ok)
	assert.Equal(t, before.PID, after.PID, "pod VMs outlive vic node")
	begin()
	shared.eventually(t, "exec after the restart", func(context.Context) (bool, string) {
		out, err := shared.tryKubectl(t, "-n", ns, "exec", "tolerant", "--", "echo", "alive")
		return err == nil && out == "alive\n", out
	})
	node.client = shared.client
	t.Run("an outage that the cluster has tainted the node for", func(t *testing.T) { outlivesOutage(t, node, begin, p) })
	t.Run("a deleted node comes back as it was", func(t *testing.T) { outlivesDeletion(t, node, p) })
	t.Run("its credential is a kubelet's", func(t *testing.T) { isConfined(t, kubeconfig) })
	require.NoError(t, shared.client.CoreV1().Pods(ns).Delete(t.Context(), p.Name, metav1.DeleteOptions{}))
	node.waitGone(t, p)
}

// joined returns the node that has joined; nil where there is none.
func joined(t *testing.T) *corev1.Node {
	t.Helper()
	n, err := shared.client.CoreV1().Nodes().Get(t.Context(), joinedNode, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	require.NoError(t, err)
	return n
}

// outlivesOutage ends a node for long enough to be given up by the cluster.
func outlivesOutage(t *testing.T, node *cluster, begin func(), p *corev1.Pod) {
	node.kill()
	tainted := func(n *corev1.Node) bool {
		return slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Key == corev1.TaintNodeUnreachable })
	}
	shared.eventually(t, "the node is tainted", func(context.Context) (bool, string) {
		n := joined(t)
		return tainted(n), fmt.Sprint(n.Spec.Taints)
	})
	begin()
	shared.eventually(t, "the node is back", func(context.Context) (bool, string) {
		n := joined(t)
		return nodeReady(n) && !tainted(n), node.out.String()
	})
	assert.Zero(t, restarts(shared.waitReady(t, p)))
}

// outlivesDeletion deletes the Node while it runs.
func outlivesDeletion(t *testing.T, node *cluster, p *corev1.Pod) {
	before := joined(t)
	shared.kubectl(t, "delete", "node", joinedNode)
	var after *corev1.Node
	shared.eventually(t, "the node is back", func(context.Context) (bool, string) {
		after = joined(t)
		return after != nil && after.UID != before.UID && nodeReady(after), node.out.String()
	})
	assert.Equal(t, before.Labels["rack"], after.Labels["rack"])
	assert.Equal(t, withoutLifecycle(before.Spec.Taints), withoutLifecycle(after.Spec.Taints))
	assert.Zero(t, restarts(shared.waitReady(t, p)))
}

// isConfined tries what a kubelet's credential must not do.
func isConfined(t *testing.T, kubeconfig string) {
	for _, question := range []string{"get secrets -A", "list configmaps -A", "delete nodes"} {
		out, _ := exec.CommandContext(t.Context(), bin("kubectl"), append([]string{"--kubeconfig", kubeconfig, "auth", "can-i"},
			strings.Fields(question)...)...).Output() // its exit code says it too
		assert.True(t, strings.HasPrefix(string(out), "no"), "%s: %s", question, out)
	}
	out, err := exec.CommandContext(t.Context(), bin("kubectl"), "--kubeconfig", kubeconfig, "label", "node", joinedNode,
		"node-restriction.kubernetes.io/x=y").CombinedOutput()
	require.Error(t, err)
	assert.Contains(t, string(out), "is not allowed to modify labels")
}

// startNode runs `vic node`.
func (c *cluster) startNode(t *testing.T, kubeconfig, config string) {
	t.Helper()
	c.out = &output{}
	c.cmd = exec.Command(bin("vic"), "node", "--kubeconfig", kubeconfig, "--config", config)
	c.cmd.Env = append(c.cmd.Environ(), c.env...)
	c.cmd.Stdout, c.cmd.Stderr = c.out, c.out
	require.NoError(t, c.cmd.Start())
	ended := make(chan error, 1)
	c.ended = ended
	go func(cmd *exec.Cmd) { ended <- cmd.Wait(); close(ended) }(c.cmd)
}

// nodeCredential writes a kubeconfig for a node by the commands of docs/node.md, as its administrator types them.
func (c *cluster) nodeCredential(t *testing.T, node, path string) {
	t.Helper()
	c.credential(t, node, path, strings.NewReplacer())
}

// nodesCredential writes a kubeconfig for a process of several nodes, as docs/node.md says, and gives it its rights.
func (c *cluster) nodesCredential(t *testing.T, user, path string) {
	t.Helper()
	c.credential(t, user, path, strings.NewReplacer("/O=system:nodes/CN=system:node:$NODE", "/CN=$NODE",
		"kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kube-apiserver-client", `"system:node:$NODE"`, `"$NODE"`))
	rbac, err := os.ReadFile("../../examples/nodes-rbac.yaml")
	require.NoError(t, err)
	apply := c.kubectlCommand(t.Context(), "apply", "-f", "-")
	apply.Stdin = strings.NewReader(strings.ReplaceAll(string(rbac), "vic-host-1", user))
	out, err := apply.CombinedOutput()
	require.NoError(t, err, string(out))
}

func (c *cluster) credential(t *testing.T, node, path string, change *strings.Replacer) {
	t.Helper()
	doc, err := os.ReadFile("../../docs/node.md")
	require.NoError(t, err)
	_, script, _ := strings.Cut(string(doc), "```sh\nNODE=vic-host-1\n")
	script, _, found := strings.Cut(script, "```")
	require.True(t, found, "docs/node.md has no commands that make the kubeconfig")
	cmd := exec.CommandContext(t.Context(), "bash", "-ec", "NODE="+node+"\n"+change.Replace(script))
	cmd.Dir = filepath.Dir(path)
	cmd.Env = append(cmd.Environ(), "KUBECONFIG="+c.kubeconfig(), "PATH="+filepath.Dir(bin("kubectl"))+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.NoError(t, os.Rename(filepath.Join(cmd.Dir, node+".kubeconfig"), path))
	t.Cleanup(func() {
		err := c.client.RbacV1().RoleBindings(metav1.NamespaceSystem).Delete(context.Background(), "vic:"+node, metav1.DeleteOptions{})
		require.NoError(t, err)
	})
}

// approve approves the pending request of that node for its serving certificate.
func (c *cluster) approve(t *testing.T, node string) {
	t.Helper()
	c.eventually(t, "the node's serving certificate request", func(ctx context.Context) (bool, string) {
		list, err := c.client.CertificatesV1().CertificateSigningRequests().List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err.Error()
		}
		for _, csr := range list.Items {
			// One that has its answer is of an earlier test.
			if csr.Spec.SignerName == certificatesv1.KubeletServingSignerName && csr.Spec.Username == "system:node:"+node && len(csr.Status.Conditions) == 0 {
				c.kubectl(t, "certificate", "approve", csr.Name)
				return true, ""
			}
		}
		return false, "none"
	})
}

func nodeReady(n *corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// withoutLifecycle leaves out the taints that the node lifecycle controller sets and takes away.
func withoutLifecycle(taints []corev1.Taint) []corev1.Taint {
	var own []corev1.Taint
	for _, taint := range taints {
		if !strings.HasPrefix(taint.Key, "node.kubernetes.io/") {
			own = append(own, taint)
		}
	}
	return own
}
