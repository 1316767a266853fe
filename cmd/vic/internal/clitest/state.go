package clitest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/internal/filelock"
	"github.com/virtual-kubelet/vic/node/statedir"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm/rundir"
)

// State is a state directory of a test. VMs in it are files: no QEMU runs.
type State struct {
	*statedir.Dir
	t *testing.T
}

// NewState makes a state directory.
func NewState(t *testing.T) State {
	t.Helper()
	dir, err := statedir.At(t.TempDir())
	require.NoError(t, err)
	return State{dir, t}
}

// PodVM is the spec of a pod's VM, whose ID is the UID.
func PodVM(namespace, name, uid string) portlayer.Spec {
	return portlayer.Spec{
		ID: uid, Owner: portlayer.Owner{Kind: "Pod", Namespace: namespace, Name: name, UID: uid, Node: "vic-local"},
		Size: portlayer.Size{VCPUs: 2, CPUMilli: 1500, MemoryBytes: 192 << 20},
	}
}

// PutVM puts a VM into the VCH, as QEMU's port layer keeps one that has stopped.
func (s State) PutVM(spec portlayer.Spec) {
	s.t.Helper()
	record, err := json.Marshal(map[string]any{
		"format": portlayer.Format, "spec": spec, "version": 3, "uuid": "0d8b3a0e-0000-5000-8000-000000000000",
		"createdAt": time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), "startedAt": time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC), "stopReason": "power failed",
	})
	require.NoError(s.t, err)
	s.PutFile(spec.ID, "vm.json", string(record))
}

// PutFile puts a file into the directory of a VM.
func (s State) PutFile(vm, name, content string) {
	s.t.Helper()
	dir := filepath.Join(s.VCH(), "vms", vm)
	require.NoError(s.t, os.MkdirAll(dir, 0o700))
	require.NoError(s.t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
}

// Hold has this process have a VM, as a vic that runs does, until letGo is called.
func (s State) Hold(vm string) (letGo func()) {
	s.t.Helper()
	f, err := filelock.Try(filepath.Join(s.VCH(), "vms", vm, "lock"))
	require.NoError(s.t, err)
	return func() { require.NoError(s.t, f.Close()) }
}

// Run returns the run directory of a pod, which is made.
func (s State) Run(uid string) *rundir.Dir {
	s.t.Helper()
	store, err := rundir.Open(rundir.Config{Root: s.Runs()})
	require.NoError(s.t, err)
	dir, err := store.Dir(uid)
	require.NoError(s.t, err)
	return dir
}
