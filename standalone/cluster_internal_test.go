package standalone

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/node/statedir"
	"github.com/virtual-kubelet/vic/portlayer"
)

// putVM makes the directory of a VM in a VCH, and returns the file that its QEMU would have locked.
func putVM(t *testing.T, vch, uid string) *os.File {
	t.Helper()
	dir := filepath.Join(vch, "vms", uid)
	require.NoError(t, os.MkdirAll(dir, 0o700))
	record, err := json.Marshal(map[string]any{"format": portlayer.Format, "spec": portlayer.Spec{ID: uid, Owner: portlayer.Owner{Kind: "Pod", UID: uid}}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "vm.json"), record, 0o600))
	alive, err := os.Create(filepath.Join(dir, "alive"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, alive.Close()) })
	return alive
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

	alive := putVM(t, vch, "running")
	require.NoError(t, unix.FcntlFlock(alive.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}))
	running, err = vmsRun(state)
	require.NoError(t, err)
	assert.True(t, running, "one is on, though this process has not adopted it")

	require.NoError(t, os.WriteFile(filepath.Join(vch, "vms", "running", "vm.json"), []byte("{"), 0o600))
	_, err = vmsRun(state)
	require.Error(t, err, "what cannot be read may run")
}
