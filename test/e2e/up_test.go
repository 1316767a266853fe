//go:build e2e

package e2e_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/virtual-kubelet/vic/internal/ociimage"
)

func TestKubeconfigIsPrivate(t *testing.T) {
	info, err := os.Stat(shared.kubeconfig())
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestTwoClustersRunSideBySide(t *testing.T) {
	t.Parallel()
	c := up(t)
	c.importImage(t)
	a := c.waitReady(t, c.create(t, pod("default", "a", "exec /testpod serve :8000")))
	ns := shared.namespace(t)
	b := shared.waitReady(t, shared.create(t, pod(ns, "b", "exec /testpod serve :8000")))
	assert.NotEqual(t, a.Status.PodIP, b.Status.PodIP)
	assert.Equal(t, int32(10250), c.kubeletPort(t), "each gateway has that port once")
	assert.Equal(t, int32(10250), shared.kubeletPort(t))
	assert.Contains(t, get(t, "http://"+a.Status.PodIP+":8000/env"), "HOSTNAME=a")
	assert.Contains(t, get(t, "http://"+b.Status.PodIP+":8000/env"), "HOSTNAME=b")
	t.Run("a node leaves the VMs of another cluster alone", func(t *testing.T) { leavesAlone(t, c) })
}

// leavesAlone has a node of the shared cluster and one of the other, of one name, on one folder of a vCenter.
func leavesAlone(t *testing.T, other *cluster) {
	t.Helper()
	v := startVCenter(t)
	ours := enlist(t, "of-two", t.TempDir(), v.settings(t)...)
	shared.nodeCredential(t, ours.name, ours.credential)
	out, err := ours.vch(t, "create", "--boot-iso", bin("guest/boot.iso"))
	require.NoError(t, err, out)
	ours.importImage(t)
	ours.begin(t)
	shared.approve(t, ours.name)
	ns := shared.namespace(t)
	p := ours.waitReady(t, ours.create(t, ours.pod(ns, "kept", countLines)))
	ours.kill()

	theirs := enlist(t, ours.name, t.TempDir(), append(v.settings(t), "    directory: theirs")...)
	theirs.client, theirs.credential = other.client, other.kubeconfig()
	theirs.importImage(t)
	theirs.begin(t)
	theirs.eventually(t, "the VM is seen", func(context.Context) (bool, string) {
		said := theirs.out.String()
		return strings.Contains(said, "pod VM of another cluster is left alone"), said
	})
	theirs.waitReady(t, theirs.create(t, theirs.pod("default", "theirs", countLines)))
	theirs.kill()
	ours.begin(t)
	assert.Zero(t, restarts(ours.waitReady(t, p)))
	ours.requireCounts(t, p, 1)
	ours.kill()

	ours.startNode(t, other.kubeconfig(), ours.config)
	require.Error(t, <-ours.ended)
	assert.Regexp(t, "state directory "+ours.dir+` is of cluster \S+, another one than \S+, which the API server is of; give this node another`, ours.out.String())
}

// kubeletPort is where the cluster's node serves the kubelet's API.
func (c *cluster) kubeletPort(t *testing.T) int32 {
	t.Helper()
	n, err := c.client.CoreV1().Nodes().Get(t.Context(), "vic-local", metav1.GetOptions{})
	require.NoError(t, err)
	return n.Status.DaemonEndpoints.KubeletEndpoint.Port
}

func TestBadInputIsRefusedWithAReason(t *testing.T) {
	t.Parallel()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = busy.Close() })
	port := strconv.Itoa(busy.Addr().(*net.TCPAddr).Port)
	wide, err := net.Listen("tcp", ":0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = wide.Close() })
	everywhere := strconv.Itoa(wide.Addr().(*net.TCPAddr).Port)
	empty := t.TempDir()
	bad := filepath.Join(empty, "node.yaml")
	require.NoError(t, os.WriteFile(bad, []byte("vch: {name: n}\nshoeSize: 9\n"), 0o600))
	good := filepath.Join(empty, "good.yaml")
	require.NoError(t, os.WriteFile(good, []byte("vch: {name: n}\ndir: "+filepath.Join(empty, "e")+"\n"), 0o600))
	nowhere := filepath.Join(empty, "kubeconfig")
	require.NoError(t, clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"c": {Server: "https://127.0.0.1:1"}},
		Contexts:       map[string]*clientcmdapi.Context{"c": {Cluster: "c"}},
		CurrentContext: "c",
	}, nowhere))
	foreign := filepath.Join(empty, "foreign.tar")
	arm, err := ociimage.Build(ociimage.Spec{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}})
	require.NoError(t, err)
	require.NoError(t, ociimage.WriteDockerSave(arm, "foreign:1", foreign))
	notAnImage := filepath.Join(empty, "image.tar")
	require.NoError(t, os.WriteFile(notAnImage, []byte("no tar"), 0o600))

	tests := map[string]struct {
		args []string
		code int
		says string
	}{
		"a second vic up on the directory": {[]string{"up", "--dir", shared.dir}, 1, "in use"},
		"an unknown flag":                  {[]string{"up", "--shoe-size", "9"}, 2, "shoe-size"},
		"a port in use":                    {[]string{"up", "--dir", filepath.Join(empty, "d"), "--api-port", port}, 1, port},
		"a kubelet port in use":            {[]string{"up", "--dir", filepath.Join(empty, "k"), "--kubelet-port", everywhere}, 1, "--kubelet-port: "},
		"a port that is none":              {[]string{"up", "--dir", filepath.Join(empty, "e"), "--api-port", "70000"}, 2, "--api-port"},
		"a memory size that is none":       {[]string{"up", "--dir", filepath.Join(empty, "e"), "--memory", "much"}, 2, "--memory"},
		"a guest image that is not there":  {[]string{"up", "--dir", filepath.Join(empty, "e"), "--guest-image", empty}, 1, "vmlinuz"},
		"an API server that is not there":  {[]string{"node", "--kubeconfig", nowhere, "--config", good}, 1, "does not answer"},
		"an unknown configuration key":     {[]string{"node", "--kubeconfig", shared.kubeconfig(), "--config", bad}, 2, "shoeSize"},
		"a configuration that is missing":  {[]string{"node", "--kubeconfig", shared.kubeconfig(), "--config", bad + "x"}, 1, bad + "x"},
		"an image for another processor":   {[]string{"image", "import", foreign, "--dir", shared.dir}, 1, "arm64"},
		"a file that is not an image":      {[]string{"image", "import", notAnImage, "--dir", shared.dir}, 1, notAnImage},
		"an image name that is none":       {[]string{"image", "import", bin("hello.tar"), "UPPER CASE", "--dir", shared.dir}, 2, "UPPER CASE"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			out, err := exec.CommandContext(t.Context(), bin("vic"), tt.args...).CombinedOutput()
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit, string(out))
			assert.Equal(t, tt.code, exit.ExitCode(), string(out))
			assert.Contains(t, string(out), tt.says)
		})
	}
	assert.NoDirExists(t, filepath.Join(empty, "e"), "nothing is left behind")
}

func TestUpOnAFullDiskSaysSo(t *testing.T) {
	t.Parallel()
	disk := t.TempDir()
	require.NoError(t, unix.Mount("tmpfs", disk, "tmpfs", 0, "size=16m"))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(disk, 0)) })
	dir := filepath.Join(disk, "state")
	out, err := exec.CommandContext(t.Context(), bin("vic"), "up", "--dir", dir).CombinedOutput()
	require.Error(t, err)
	assert.Contains(t, string(out), "disk full")
	out, err = exec.CommandContext(t.Context(), bin("vic"), "up", "--purge", "--dir", dir).CombinedOutput()
	require.NoError(t, err, string(out))
	assert.NoDirExists(t, dir)
}
