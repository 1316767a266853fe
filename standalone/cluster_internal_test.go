package standalone

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/internal/filelock"
	"github.com/virtual-kubelet/vic/node"
	"github.com/virtual-kubelet/vic/node/statedir"
	"github.com/virtual-kubelet/vic/persona"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/qemu/cgroup"
)

// putVM makes the directory of a VM in a VCH, and returns the file that its QEMU would have locked.
func putVM(t *testing.T, vch, uid string) (alive string) {
	t.Helper()
	dir := filepath.Join(vch, "vms", uid)
	require.NoError(t, os.MkdirAll(dir, 0o700))
	record, err := json.Marshal(map[string]any{
		"format": portlayer.Format, "spec": portlayer.Spec{ID: uid, Owner: portlayer.Owner{Kind: "Pod", UID: uid}},
	})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "vm.json"), record, 0o600))
	return filepath.Join(dir, "alive")
}

func TestTheNetworkStaysWhileAVMRuns(t *testing.T) {
	state, err := statedir.At(filepath.Join(t.TempDir(), "state"))
	require.NoError(t, err)
	running, err := vmsRun(state)
	require.NoError(t, err)
	assert.False(t, running, "there is no VCH")

	vch := state.VCH()
	putVM(t, vch, "stopped")
	running, err = vmsRun(state)
	require.NoError(t, err)
	assert.False(t, running, "its VMs are off")

	alive, err := filelock.Try(putVM(t, vch, "running"))
	require.NoError(t, err)
	defer alive.Close()
	running, err = vmsRun(state)
	require.NoError(t, err)
	assert.True(t, running, "one is on, though this process has not adopted it")

	require.NoError(t, os.WriteFile(filepath.Join(vch, "vms", "running", "vm.json"), []byte("{"), 0o600))
	running, err = vmsRun(state)
	require.NoError(t, err)
	assert.True(t, running, "its record can't be read, and its QEMU lives")
}

// settings are those of the only node, with a guest image.
func settings(t *testing.T) *config.Node {
	t.Helper()
	n := config.DefaultNode()
	n.Dir, n.GuestImage, n.VCH = filepath.Join(t.TempDir(), "state"), t.TempDir(), &config.Entry{Name: "n"}
	n.SetDefaults()
	for _, name := range []string{"vmlinuz", "initrd.zst"} {
		require.NoError(t, os.WriteFile(filepath.Join(n.GuestImage, name), []byte("x"), 0o600))
	}
	return n
}

func TestWhatIsMissingIsFoundBeforeAnythingIsTouched(t *testing.T) {
	tests := map[string]struct {
		change func(*config.Node)
		says   string
	}{
		"a guest image":     {func(n *config.Node) { n.GuestImage = "/none" }, "guest image (--guest-image; make guest-image builds it): "},
		"a file":            {func(n *config.Node) { n.RegistryHostsDir = "/none" }, "registryHostsDir: "},
		"the control plane": {func(*config.Node) {}, "control plane (make build builds it): "}, // it is not beside the test's program
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			n := settings(t)
			tt.change(n)
			require.ErrorContains(t, Run(t.Context(), Config{Settings: n}), tt.says)
			assert.NoDirExists(t, n.Dir)
		})
	}
}

func TestWithoutANetworkPodsReachNoAPIServer(t *testing.T) {
	c := &cluster{Config: Config{Settings: settings(t)}}
	assert.Empty(t, c.hosts())
	assert.Empty(t, c.podListen())
	require.NoError(t, c.closeNetwork(t.Context()))
	got, err := c.address()
	want, hostErr := node.HostAddress()
	assert.Equal(t, want, got)
	assert.Equal(t, hostErr, err)
	_, err = c.openSimulated(t.Context())
	require.ErrorContains(t, err, "--vsphere-simulator needs root")
}

func TestTheExampleImageIsImportedWhereItWasBuilt(t *testing.T) {
	store, err := persona.Open(persona.Config{Dir: t.TempDir()})
	require.NoError(t, err)
	require.NoError(t, importHello(t.Context(), store), "it is not beside the test's program")
	stored, err := store.List()
	require.NoError(t, err)
	assert.Empty(t, stored)
}

func TestAStateDirectoryIsPurgedAsAWhole(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	require.NoError(t, Purge(t.Context(), dir), "one that is not there is not an error")
	assert.NoDirExists(t, dir)

	state, err := statedir.Open(dir)
	require.NoError(t, err)
	require.ErrorIs(t, Purge(t.Context(), dir), statedir.ErrInUse)
	require.NoError(t, state.Close())
	for _, vch := range []string{state.VCH(), state.VCHOf("a").VCH()} {
		putVM(t, vch, "left")
	}
	var groups []string
	for _, vch := range []string{state.VCH(), state.Simulator()} {
		groups = append(groups, emptyGroups(t, vch)...)
	}
	require.NoError(t, Purge(t.Context(), dir))
	assert.NoDirExists(t, dir)
	for _, group := range groups {
		assert.NoDirExists(t, filepath.Dir(group), "control groups of a process that was killed go too")
	}
}

// emptyGroups are control groups whose process is gone. Without the right to make any there are none.
func emptyGroups(t *testing.T, vch string) []string {
	t.Helper()
	if cgroup.SystemdRuns() {
		return nil // whose units end with their processes
	}
	cmd := exec.CommandContext(t.Context(), "sleep", "3600")
	require.NoError(t, cmd.Start())
	err := cgroup.Join(t.Context(), cgroup.Group{VCH: vch, UID: "u-1", MemoryBytes: 1 << 30}, cmd.Process.Pid)
	groups := cgroup.Of(cmd.Process.Pid, vch, "u-1")
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	assert.True(t, err != nil || len(groups) > 0)
	return groups
}

func TestVMsAreAskedOfASimulatedVCenterThatRuns(t *testing.T) {
	state, err := statedir.At(t.TempDir())
	require.NoError(t, err)
	vms, err := SimulatedVMs(t.Context(), state)
	require.NoError(t, err)
	assert.Empty(t, vms)
	require.NoError(t, endSimulator(t.Context(), state), "there is none to end")
	require.ErrorContains(t, ServeSimulator(t.Context(), SimulatedVCenter{State: state}), "vic up --vsphere-simulator")
	require.NoError(t, os.MkdirAll(state.Simulator(), 0o700))
	alive, err := filelock.Try(simulatorAlive(state))
	require.NoError(t, err)
	defer alive.Close()
	vms, err = SimulatedVMs(t.Context(), state)
	require.NoError(t, err, "it has only begun to start")
	assert.Empty(t, vms)
}
