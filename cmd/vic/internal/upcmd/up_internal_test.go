package upcmd

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/cmd/vic/internal/cli"
	"github.com/virtual-kubelet/vic/cmd/vic/internal/clitest"
	"github.com/virtual-kubelet/vic/node/statedir"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/standalone"
)

// parse returns what the flags make.
func parse(t *testing.T, args ...string) options {
	t.Helper()
	var o options
	cmd := &cobra.Command{}
	o.add(cmd)
	require.NoError(t, cmd.ParseFlags(args))
	require.NoError(t, o.complete())
	return o
}

func TestFlagsFillTheSettingsOfTheOnlyNode(t *testing.T) {
	o := parse(t, "--dir", "/state", "--node-name", "n", "--cpu", "4", "--memory", "8Gi", "--ephemeral-storage", "20Gi", "--pods", "30",
		"--reserved", "cpu=500m, memory=1Gi", "--container-log-max-size", "1Mi", "--image-gc-high-threshold", "70", "--image-gc-low-threshold", "60",
		"--insecure-registry", "a:1", "--insecure-registry", "b:2", "--registry-mirror", "docker.io=https://m.example", "--image-limit", "bytes=16Gi")
	n := o.settings.Node
	assert.Equal(t, "/state", n.Dir)
	assert.Equal(t, "n", n.VCH.NodeName)
	assert.NotNil(t, n.VCH.QEMU)
	assert.EqualValues(t, 4000, n.VCH.Limits.Cpu().MilliValue())
	assert.EqualValues(t, 8<<30, n.VCH.Limits.Memory().Value())
	assert.EqualValues(t, 20<<30, n.VCH.Limits.StorageEphemeral().Value())
	assert.EqualValues(t, 30, n.VCH.Limits.Pods().Value())
	assert.EqualValues(t, 500, n.VCH.Reserved.Cpu().MilliValue())
	assert.EqualValues(t, 1<<20, n.ContainerLogMaxSize.Value())
	assert.EqualValues(t, 70, n.ImageGCHighThresholdPercent)
	assert.EqualValues(t, 60, n.ImageGCLowThresholdPercent)
	assert.Equal(t, []string{"a:1", "b:2"}, n.InsecureRegistries)
	assert.Equal(t, map[string]string{"docker.io": "https://m.example"}, n.RegistryMirrors)
	limit := n.ImageLimits["bytes"]
	assert.EqualValues(t, 16<<30, limit.Value())
	assert.Empty(t, *n.VCH.Taints, "the only node takes all pods")
}

func TestAnAmountOfZeroIsWhatThereIs(t *testing.T) {
	n := parse(t, "--cpu", "0", "--pods", "0").settings.Node
	assert.Empty(t, n.VCH.Limits)
}

func TestTheKubeletListensWhereToolsExpectIt(t *testing.T) {
	o := parse(t)
	assert.EqualValues(t, 10250, o.settings.Node.VCH.Port)
	assert.True(t, o.cluster.AnyKubeletPort, "or on any port")
	o = parse(t, "--kubelet-port", "8443")
	assert.EqualValues(t, 8443, o.settings.Node.VCH.Port)
	assert.False(t, o.cluster.AnyKubeletPort)
}

func TestWhatIsPrintedOfACluster(t *testing.T) {
	var out bytes.Buffer
	p := printer{out: &out}
	require.NoError(t, p.ready(standalone.Summary{
		NodeName: "vic-local", Capacity: portlayer.Capacity{CPUMilli: 2000, MemoryBytes: 3 << 29}, RunsOn: "QEMU (kvm)", Kubeconfig: "/state/kubeconfig",
	}))
	p.stopping()
	p.cuttingPower()
	assert.Equal(t, `node vic-local is Ready: 2 CPUs, 1.5 GiB; pods run on QEMU (kvm)

  export KUBECONFIG=/state/kubeconfig
  bin/kubectl apply -f examples/hello.yaml
  bin/kubectl get pods -o wide
  bin/kubectl exec -it hello -- sh

Ctrl-C ends the pods within their grace periods and stops everything.
stopping; pods end within their grace periods (Ctrl-C again cuts their power)
cutting the power of the pods that run
`, out.String())
}

func TestWhatIsPrintedIsTrueOfKeptPodsAndOfUsersWithoutRoot(t *testing.T) {
	var out bytes.Buffer
	p := printer{out: &out, keepPods: true}
	require.NoError(t, p.ready(standalone.Summary{UserNetwork: true}))
	p.stopping()
	assert.Contains(t, out.String(), "each pod has a private network")
	assert.Contains(t, out.String(), "Ctrl-C stops the control plane and the node; pod VMs go on (--keep-pods).")
	assert.Contains(t, out.String(), "\nstopping; pod VMs go on (--keep-pods)\n")
}

func TestWhatIsMissingIsSaidBeforeAnythingIsTouched(t *testing.T) {
	image := t.TempDir()
	for _, name := range []string{"vmlinuz", "initrd.zst"} {
		require.NoError(t, os.WriteFile(filepath.Join(image, name), []byte("x"), 0o600))
	}
	dir := filepath.Join(t.TempDir(), "state")
	for says, args := range map[string][]string{
		"guest image (--guest-image; make guest-image builds it): ": {"--guest-image", "/none"},
		"control plane (make build builds it): ":                    {"--guest-image", image}, // it is not beside the test's program
	} {
		_, err := clitest.Execute(t, NewCommand(), append(args, "--dir", dir)...)
		require.ErrorContains(t, err, says)
		var misuse *cli.MisuseError
		assert.NotErrorAs(t, err, &misuse, "the user typed nothing wrong")
		assert.NoDirExists(t, dir)
	}
}

func TestPurgeRemovesTheDirectoryAndDoesNothingElse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	state, err := statedir.Open(dir)
	require.NoError(t, err)
	_, err = clitest.Execute(t, NewCommand(), "--purge", "--dir", dir)
	require.ErrorIs(t, err, statedir.ErrInUse, "another process has it")
	require.NoError(t, state.Close())
	out, err := clitest.Execute(t, NewCommand(), "--purge", "--dir", dir)
	require.NoError(t, err)
	assert.Empty(t, out)
	assert.NoDirExists(t, dir)
	_, err = clitest.Execute(t, NewCommand(), "--purge", "--dir", dir)
	require.NoError(t, err, "there is nothing left to remove")
}
