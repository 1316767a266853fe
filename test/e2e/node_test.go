//go:build e2e

package e2e_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
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
	after, ok := node.vm(t, p)
	require.True(t, ok)
	assert.Equal(t, before.PID, after.PID, "pod VMs outlive vic node")
	begin()
	shared.eventually(t, "exec after the restart", func(context.Context) (bool, string) {
		out, err := shared.tryKubectl(t, "-n", ns, "exec", "tolerant", "--", "echo", "alive")
		return err == nil && out == "alive\n", out
	})
	require.NoError(t, shared.client.CoreV1().Pods(ns).Delete(t.Context(), p.Name, metav1.DeleteOptions{}))
	node.client = shared.client
	node.waitGone(t, p)
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

// nodeCredential gives a node its rights, and writes a kubeconfig for it, signed by the cluster.
func (c *cluster) nodeCredential(t *testing.T, node, path string) {
	t.Helper()
	rbac, err := os.ReadFile("../../examples/node-rbac.yaml")
	require.NoError(t, err)
	apply := c.kubectlCommand(t.Context(), "apply", "-f", "-")
	apply.Stdin = strings.NewReader(strings.ReplaceAll(string(rbac), "vic-host-1", node))
	out, err := apply.CombinedOutput()
	require.NoError(t, err, string(out))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "system:node:" + node, Organization: []string{"system:nodes"}},
	}, key)
	require.NoError(t, err)
	csrs := c.client.CertificatesV1().CertificateSigningRequests()
	csr, err := csrs.Create(t.Context(), &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{GenerateName: node + "-"},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			SignerName: certificatesv1.KubeAPIServerClientKubeletSignerName,
			Request:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: request}),
			Usages:     []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	c.kubectl(t, "certificate", "approve", csr.Name)
	c.eventually(t, "the node's credential", func(ctx context.Context) (bool, string) {
		csr, err = csrs.Get(ctx, csr.Name, metav1.GetOptions{})
		return err == nil && len(csr.Status.Certificate) > 0, ""
	})
	der, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	admin, err := clientcmd.LoadFromFile(c.kubeconfig())
	require.NoError(t, err)
	config := clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{"c": admin.Clusters[admin.Contexts[admin.CurrentContext].Cluster]},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{"node": {
			ClientCertificateData: csr.Status.Certificate,
			ClientKeyData:         pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}),
		}},
		Contexts:       map[string]*clientcmdapi.Context{"c": {Cluster: "c", AuthInfo: "node"}},
		CurrentContext: "c",
	}
	require.NoError(t, clientcmd.WriteToFile(config, path))
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
