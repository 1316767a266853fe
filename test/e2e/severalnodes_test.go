//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestSeveralNodesOfOneFile runs one process as two nodes of this host, one of them written as an object of the cluster, and
// changes the list while it runs.
func TestSeveralNodesOfOneFile(t *testing.T) {
	t.Parallel()
	c := newCluster(filepath.Join(t.TempDir(), "s"))
	c.client = shared.client
	t.Cleanup(func() { c.purge(t) })
	config := filepath.Join(t.TempDir(), "node.yaml")
	write := func(vchs ...string) {
		text := fmt.Sprintf("dir: %s\naccel: %s\n%s", c.dir, shared.accel(t), strings.Join(vchs, ""))
		require.NoError(t, os.WriteFile(config, []byte(text), 0o600))
	}
	node := func(name, more string) string {
		return fmt.Sprintf("vchs: [{name: %s, limits: {memory: 2Gi, cpu: 2}%s}]\n", name, more)
	}
	object := func(name, limits string) string {
		return fmt.Sprintf("---\napiVersion: vic.virtual-kubelet.io/v1alpha1\nkind: VirtualContainerHost\nmetadata: {name: %s}\nspec:\n  qemu: {}\n  limits: {memory: 2Gi, cpu: 2%s}\n", name, limits)
	}
	get := func(name string) (*corev1.Node, error) {
		return shared.client.CoreV1().Nodes().Get(t.Context(), name, metav1.GetOptions{})
	}
	write(node("one", ""), object("two", ", pods: 5"))
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	shared.nodesCredential(t, "several", kubeconfig)
	c.startNode(t, kubeconfig, config)
	for _, name := range []string{"one", "two"} {
		c.eventually(t, "node "+name+" is Ready", func(context.Context) (bool, string) {
			n, err := get(name)
			return err == nil && nodeReady(n), c.out.String()
		})
		t.Cleanup(func() {
			err := shared.client.CoreV1().Nodes().Delete(context.Background(), name, metav1.DeleteOptions{})
			assert.True(t, err == nil || apierrors.IsNotFound(err), "%v", err)
		})
		out, err := c.vic("image", "import", imageArchive, testImage, "--dir", filepath.Join(c.dir, "vchs", name)).CombinedOutput()
		require.NoError(t, err, string(out))
	}
	two, err := get("two")
	require.NoError(t, err)
	assert.EqualValues(t, 5, two.Status.Capacity.Pods().Value())

	ns := shared.namespace(t)
	on := func(node string) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Spec.NodeName = node } }
	a := shared.create(t, pod(ns, "a", sleepForever, small, on("one")))
	b := shared.create(t, pod(ns, "b", sleepForever, small, on("two")))
	a, b = c.waitReady(t, a), c.waitReady(t, b)

	write("vchs: [{name: one, shoeSize: 9}]\n")
	c.eventually(t, "a wrong file is reported", func(context.Context) (bool, string) {
		return strings.Contains(c.out.String(), "shoeSize"), c.out.String()
	})
	write(node("one", ", labels: {rack: r1}"))
	c.eventually(t, "the label is there, and the node that is gone from the file is cordoned", func(context.Context) (bool, string) {
		one, err := get("one")
		require.NoError(t, err)
		two, err := get("two")
		require.NoError(t, err)
		return one.Labels["rack"] == "r1" && two.Spec.Unschedulable, c.out.String()
	})
	assert.Contains(t, c.out.String(), ns+"/b", "it says what it waits for")
	assert.Zero(t, restarts(c.waitReady(t, b)), "its pods run on")
	c.delete(t, b)
	c.eventually(t, "the node is gone", func(context.Context) (bool, string) {
		_, err := get("two")
		return apierrors.IsNotFound(err), c.out.String()
	})
	assert.NoDirExists(t, filepath.Join(c.dir, "vchs", "two"))
	assert.Zero(t, restarts(c.waitReady(t, a)))
	c.delete(t, a)
}
