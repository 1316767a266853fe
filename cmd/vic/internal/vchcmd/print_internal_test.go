package vchcmd

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/cmd/vic/internal/cli"
	"github.com/virtual-kubelet/vic/cmd/vic/internal/podvmview"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/vch"
)

// view is a VCH with a pod VM.
func view() vchView {
	return vchView{
		Node: "vic-vsphere-1", VCH: "pool", Address: "vcenter.example", Pool: "/DC0/host/C0/Resources/vic", Folder: "/DC0/vm/vic", Datastore: "/DC0/datastore/s",
		CPUMilli: 16_000, MemoryBytes: 64 << 30, FreeMemoryBytes: 60 << 30, StorageBytes: 100 << 30, FreeStorageBytes: 90 << 30, VMs: 2, Running: 1,
		PodVMs: []podvmview.PodVM{{Namespace: "default", Name: "web", UID: "u-1", State: "running", IP: "192.0.2.100", MemoryBytes: 192 << 20, Created: time.Now()}},
	}
}

func TestAVCHIsShownWithItsPodVMs(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, printVCH(&out, cli.OutputText, view()))
	assert.Regexp(t, `^Node: +vic-vsphere-1
VCH: +pool
Address: +vcenter\.example
Resource pool: +/DC0/host/C0/Resources/vic
VM folder: +/DC0/vm/vic
Datastore: +/DC0/datastore/s
CPU: +16
Memory: +64Gi, 60Gi free
Storage: +100Gi, 90Gi free
Pod VMs: +2, 1 of them running

NAMESPACE +NAME +STATE +IP +PID +MEMORY +AGE +UID
default +web +running +192\.0\.2\.100 +- +192Mi +0s +u-1
$`, out.String())
}

func TestVCHsAreListedWithWhatIsWrongWithOne(t *testing.T) {
	lost := vchView{Node: "b", Address: "w", Error: "connect to vSphere at w:\x1b[2J refused"}
	var out bytes.Buffer
	require.NoError(t, printVCHs(&out, cli.OutputTable, []vchView{view(), lost}))
	assert.Regexp(t, `^NODE +ADDRESS +CPU +MEMORY +FREE +STORAGE FREE +VMS +RUNNING +STATE
vic-vsphere-1 +vcenter\.example +16 +64Gi +60Gi +90Gi +2 +1 +ok
b +w +- +- +- +- +- +- +connect to vSphere at w: refused
$`, out.String(), "nothing of vSphere's steers a terminal")
	out.Reset()
	require.NoError(t, printVCHs(&out, cli.OutputJSON, nil))
	assert.JSONEq(t, "[]", out.String())
}

func TestScriptsReadAVCHByTheSameNames(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, printVCH(&out, cli.OutputJSON, view()))
	var got map[string]any
	require.NoError(t, json.Unmarshal(out.Bytes(), &got))
	for _, key := range []string{
		"node", "vch", "address", "pool", "folder", "datastore", "cpuMilli", "memoryBytes", "freeMemoryBytes", "storageBytes", "freeStorageBytes",
		"vms", "running", "podVMs",
	} {
		assert.Contains(t, got, key)
	}
	assert.NotContains(t, got, "error")
}

func TestEachStepIsSaid(t *testing.T) {
	var out bytes.Buffer
	steps := []vch.Step{{Subject: "resource pool", Detail: "/DC0/host/C0/Resources/vic"}, {Subject: "VM folder", Detail: "/DC0/vm/vic", Exists: true}}
	require.NoError(t, printSteps(&out, steps, func(s vch.Step) string {
		if s.Exists {
			return "exists"
		}
		return "made"
	}))
	assert.Equal(t, "made: resource pool /DC0/host/C0/Resources/vic\nexists: VM folder /DC0/vm/vic\n", out.String())
}

func TestProcessorsAndMemoryAreWrittenAsTheyAre(t *testing.T) {
	assert.Equal(t, "1743m", cores(1743))
	assert.Equal(t, "4", cores(4000))
	assert.Equal(t, "1.5Gi", gib(3<<29))
}
