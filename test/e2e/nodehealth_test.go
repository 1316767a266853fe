//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const qemuProgram = "qemu-system-x86_64"

// smallDisk mounts a file system of its own, of that many MiB, for as long as the test.
func smallDisk(t *testing.T, mebibytes int) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, unix.Mount("vic-e2e", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", mebibytes)))
	t.Cleanup(func() { assert.NoError(t, unix.Unmount(dir, 0)) })
	return dir
}

// borrowedQEMU makes a name of QEMU that the test may take away, and the environment that has vic find it.
func borrowedQEMU(t *testing.T) (link string, env []string) {
	t.Helper()
	program, err := exec.LookPath(qemuProgram)
	require.NoError(t, err)
	dir := t.TempDir()
	link = filepath.Join(dir, qemuProgram)
	require.NoError(t, os.Symlink(program, link))
	return link, []string{"PATH=" + dir + ":" + os.Getenv("PATH")}
}

// TestNodeReportsItsHealth takes from a node what it needs, and gives it back.
func TestNodeReportsItsHealth(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, 512)
	qemu, env := borrowedQEMU(t)
	m := enlist(t, "unwell", disk, "evictionPressureTransitionPeriod: 1s",
		"  limits: {cpu: 3, memory: 4Gi, ephemeral-storage: 1Gi, pods: 7}", "  reserved: {cpu: 500m, memory: 1Gi, ephemeral-storage: 256Mi}")
	m.env = env
	shared.nodeCredential(t, m.name, m.credential)
	m.begin(t)
	node := m.object(t)
	want := func(list corev1.ResourceList, cpu, memory, storage string) {
		t.Helper()
		for name, q := range map[corev1.ResourceName]string{
			corev1.ResourceCPU: cpu, corev1.ResourceMemory: memory, corev1.ResourceEphemeralStorage: storage, corev1.ResourcePods: "7",
		} {
			has := list[name]
			assert.Zero(t, has.Cmp(resource.MustParse(q)), "%s is %s", name, has.String())
		}
	}
	want(node.Status.Capacity, "3", "4Gi", "1Gi")
	want(node.Status.Allocatable, "2500m", "3Gi", "768Mi")

	filler := filepath.Join(disk, "filler")
	fill(t, filler, 5)
	require.NoError(t, os.Remove(qemu))
	m.waitNode(t, "says what it lacks", func(n *corev1.Node) bool {
		full, ready := nodeCondition(n, corev1.NodeDiskPressure), nodeCondition(n, corev1.NodeReady)
		return full.Status == corev1.ConditionTrue && full.Reason == "VCHHasDiskPressure" && strings.Contains(full.Message, "10 %") &&
			ready.Status == corev1.ConditionFalse && ready.Reason == "QEMUMissing" && strings.Contains(ready.Message, qemu)
	})
	m.waitNode(t, "is tainted by the cluster", func(n *corev1.Node) bool {
		return hasTaint(n, corev1.TaintNodeDiskPressure) && hasTaint(n, corev1.TaintNodeNotReady)
	})
	ns := shared.namespace(t)
	p := shared.create(t, m.pod(ns, "late", sleepForever))
	p = shared.waitPhase(t, p, corev1.PodFailed)
	assert.Equal(t, "Evicted", p.Status.Reason)
	assert.Equal(t, "Pod was rejected: The node had condition: [DiskPressure]. ", p.Status.Message)

	require.NoError(t, os.Remove(filler))
	program, err := exec.LookPath(qemuProgram)
	require.NoError(t, err)
	require.NoError(t, os.Symlink(program, qemu))
	m.waitNode(t, "is well again", func(n *corev1.Node) bool {
		return nodeReady(n) && nodeCondition(n, corev1.NodeDiskPressure).Status == corev1.ConditionFalse &&
			!hasTaint(n, corev1.TaintNodeDiskPressure) && !hasTaint(n, corev1.TaintNodeNotReady)
	})
	m.waitEvents(t, "Starting", "NodeReady", "NodeHasDiskPressure", "NodeNotReady", "NodeHasNoDiskPressure")
}

// fill writes a file that leaves percent of its disk.
func fill(t *testing.T, path string, percent uint64) {
	t.Helper()
	var fs unix.Statfs_t
	require.NoError(t, unix.Statfs(filepath.Dir(path), &fs))
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	take := int64(fs.Bavail-fs.Blocks*percent/100) * fs.Bsize
	require.NoError(t, unix.Fallocate(int(f.Fd()), 0, 0, take))
}

// object is the node as the API server has it.
func (m *member) object(t *testing.T) *corev1.Node {
	t.Helper()
	n, err := shared.client.CoreV1().Nodes().Get(t.Context(), m.name, metav1.GetOptions{})
	require.NoError(t, err)
	return n
}

// waitNode waits until is holds of the node, and returns it then.
func (m *member) waitNode(t *testing.T, what string, is func(*corev1.Node) bool) *corev1.Node {
	t.Helper()
	var n *corev1.Node
	m.eventually(t, "node "+m.name+" "+what, func(ctx context.Context) (bool, string) {
		var err error
		n, err = shared.client.CoreV1().Nodes().Get(ctx, m.name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, err.Error()
		}
		require.NoError(t, err)
		return is(n), fmt.Sprint(n.Spec.Taints, n.Status.Conditions)
	})
	return n
}

// waitEvents waits until there are events of the node with all these reasons.
func (m *member) waitEvents(t *testing.T, reasons ...string) {
	t.Helper()
	m.eventually(t, "events of the node", func(ctx context.Context) (bool, string) {
		list, err := shared.client.CoreV1().Events(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{
			FieldSelector: "involvedObject.kind=Node,involvedObject.name=" + m.name + ",source=vic",
		})
		require.NoError(t, err)
		seen := map[string]bool{}
		for _, e := range list.Items {
			seen[e.Reason] = true
		}
		for _, reason := range reasons {
			if !seen[reason] {
				return false, fmt.Sprint(reason, " is not in ", seen)
			}
		}
		return true, ""
	})
}

func nodeCondition(n *corev1.Node, kind corev1.NodeConditionType) corev1.NodeCondition {
	for _, c := range n.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return corev1.NodeCondition{}
}

func hasTaint(n *corev1.Node, key string) bool {
	for _, taint := range n.Spec.Taints {
		if taint.Key == key {
			return true
		}
	}
	return false
}
