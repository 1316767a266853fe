//go:build !race

package vch_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/vsphere"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/internal/testvcenter"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/vch"
)

const uid = "uid-1"

func spec() portlayer.Spec {
	return portlayer.Spec{
		ID: uid, Owner: portlayer.Owner{Kind: "Pod", UID: uid, Namespace: "default", Name: "pod", Node: "node", Generation: 1},
		Size:  portlayer.Size{VCPUs: 1, CPUMilli: 1000, MemoryBytes: 256 << 20},
		Disks: []portlayer.Disk{{Kind: portlayer.DiskScratch, Serial: "scratch", SizeBytes: 64 << 20}},
	}
}

// noGuests are the channels of VMs that no test powers on.
type noGuests struct{ vsphere.GuestChannels }

func (noGuests) Boot(vm string) wire.Boot { return wire.Boot{Version: wire.BootVersion, VM: vm} }

func (noGuests) Forget(string) {}

// wanted is a VCH that is not there yet, and what to make of it.
func wanted(t *testing.T, v *testvcenter.Server) (vsphere.Config, vch.Options) {
	t.Helper()
	iso := filepath.Join(t.TempDir(), "boot.iso")
	require.NoError(t, os.WriteFile(iso, []byte("image"), 0o600))
	return vsphere.Config{
		Name: "vch", Session: v.Session(), Pool: "/DC0/host/DC0_C0/Resources/vic", Folder: "/DC0/vm/vic", Guests: noGuests{},
		Networks: map[string]string{"pods": "VM Network"}, BootISO: "[LocalDS_0] isos/boot.iso",
	}, vch.Options{CPUMHz: 4000, MemoryMiB: 2048, BootISO: iso}
}

func plan(t *testing.T, cfg vsphere.Config, in vch.Options) []vch.Step {
	t.Helper()
	steps, err := vch.PlanCreate(t.Context(), cfg, in)
	require.NoError(t, err)
	return steps
}

// states are the steps in words.
func states(steps []vch.Step) []string {
	var all []string
	for _, s := range steps {
		word := "make "
		if s.Exists {
			word = "have "
		}
		all = append(all, word+s.Subject+" "+s.Detail)
	}
	return all
}

func TestAnISOThatCannotBeMovedLeavesNothing(t *testing.T) {
	v := testvcenter.Cluster(t)
	cfg, in := wanted(t, v)
	v.Before = func(_ *simulator.Context, m *simulator.Method) types.BaseMethodFault {
		if m.Name == "MoveDatastoreFile_Task" {
			return &types.NoPermission{}
		}
		return nil
	}
	err := vch.Create(t.Context(), plan(t, cfg, in))
	require.ErrorContains(t, err, "make boot ISO [LocalDS_0] isos/boot.iso")
	store, err := v.Finder().DefaultDatastore(t.Context())
	require.NoError(t, err)
	for _, file := range []string{"isos/boot.iso", "isos/boot.iso.part"} {
		_, err := store.Stat(t.Context(), file)
		assert.Error(t, err, file)
	}
}

func TestAVCHIsMadeUsedAndRemoved(t *testing.T) {
	v := testvcenter.Cluster(t)
	cfg, in := wanted(t, v)
	parts := []string{
		"resource pool /DC0/host/DC0_C0/Resources/vic", "VM folder /DC0/vm/vic", "directory [LocalDS_0] vic/vch", "boot ISO [LocalDS_0] isos/boot.iso",
	}
	with := func(word string, parts ...string) []string {
		var all []string
		for _, p := range parts {
			all = append(all, word+" "+p)
		}
		return all
	}
	steps := plan(t, cfg, in)
	require.Equal(t, with("make", parts...), states(steps))
	require.Equal(t, with("make", parts...), states(plan(t, cfg, in)), "a plan changes nothing")
	require.NoError(t, vch.Create(t.Context(), steps))
	again := plan(t, cfg, in)
	require.Equal(t, with("have", parts...), states(again))
	require.NoError(t, vch.Create(t.Context(), again))
	for _, f := range vch.Check(t.Context(), cfg) {
		require.NoError(t, f.Err, f.Subject)
	}
	var pool mo.ResourcePool
	found, err := v.Finder().ResourcePool(t.Context(), cfg.Pool)
	require.NoError(t, err)
	require.NoError(t, found.Properties(t.Context(), found.Reference(), []string{"config"}, &pool))
	assert.EqualValues(t, 4000, *pool.Config.CpuAllocation.Limit)
	assert.EqualValues(t, 2048, *pool.Config.MemoryAllocation.Limit)

	h, err := vsphere.Open(t.Context(), cfg)
	require.NoError(t, err)
	_, err = h.Create(t.Context(), spec())
	require.NoError(t, err)
	_, err = vch.PlanRemoval(t.Context(), cfg)
	require.ErrorIs(t, err, portlayer.ErrBusy)
	require.ErrorContains(t, err, "default-pod-uid-1")
	require.NoError(t, h.Destroy(t.Context(), uid))
	h.Close()

	steps, err = vch.PlanRemoval(t.Context(), cfg)
	require.NoError(t, err)
	require.Equal(t, with("have", parts[1], parts[0], parts[2]), states(steps))
	require.NoError(t, vch.Remove(t.Context(), steps))
	require.NoError(t, vch.Remove(t.Context(), steps), "it is gone already")
	steps, err = vch.PlanRemoval(t.Context(), cfg)
	require.NoError(t, err)
	assert.Empty(t, steps)
	assert.Equal(t, append(with("make", parts[:3]...), with("have", parts[3])...), states(plan(t, cfg, in)))
}

func TestAVCHThatIsUsedIsNotRemoved(t *testing.T) {
	v := testvcenter.Cluster(t)
	cfg, in := wanted(t, v)
	require.NoError(t, vch.Create(t.Context(), plan(t, cfg, in)))
	busy := func(cfg vsphere.Config, says string) {
		t.Helper()
		_, err := vch.PlanRemoval(t.Context(), cfg)
		require.ErrorIs(t, err, portlayer.ErrBusy)
		require.ErrorContains(t, err, says)
	}
	inside := cfg
	inside.BootISO = "[LocalDS_0] vic/vch/boot.iso"
	busy(inside, "boot ISO")

	anywhere := cfg
	anywhere.Folder = ""
	h, err := vsphere.Open(t.Context(), anywhere)
	require.NoError(t, err)
	_, err = h.Create(t.Context(), spec())
	require.NoError(t, err)
	busy(anywhere, "default-pod-uid-1")
	busy(cfg, "VMs and pools")
	require.NoError(t, h.Destroy(t.Context(), uid))
	h.Close()
}

// full is a folder that takes no more folders.
type full struct{ *simulator.Folder }

func (f *full) CreateFolder(*simulator.Context, *types.CreateFolder) soap.HasFault {
	return &methods.CreateFolderBody{Fault_: simulator.Fault("no room", &types.NoPermission{})}
}

func TestAVCHThatCannotBeMadeIsTakenBack(t *testing.T) {
	v := testvcenter.Cluster(t)
	cfg, in := wanted(t, v)
	steps := plan(t, cfg, in)
	folder, err := v.Finder().Folder(t.Context(), "/DC0/vm")
	require.NoError(t, err)
	real := v.Model.Map().Get(folder.Reference()).(*simulator.Folder)
	v.Model.Map().Put(&full{real})
	require.ErrorContains(t, vch.Create(t.Context(), steps), "make VM folder /DC0/vm/vic")
	v.Model.Map().Put(real)
	for _, s := range plan(t, cfg, in) {
		assert.False(t, s.Exists, s.Subject)
	}
}

func TestAPlanRefusesWhatItCannotMake(t *testing.T) {
	v := testvcenter.Cluster(t)
	for says, change := range map[string]func(*vsphere.Config, *vch.Options){
		"datacenter":           func(c *vsphere.Config, _ *vch.Options) { c.Datacenter = "nowhere" },
		"datastore":            func(c *vsphere.Config, _ *vch.Options) { c.Datastore = "nowhere" },
		"what /DC0/host/x":     func(c *vsphere.Config, _ *vch.Options) { c.Pool = "/DC0/host/x/Resources/vic" },
		"what /DC0/vm/x":       func(c *vsphere.Config, _ *vch.Options) { c.Folder = "/DC0/vm/x/y" },
		"not a datastore path": func(c *vsphere.Config, _ *vch.Options) { c.BootISO = "boot.iso" },
		"no such file":         func(_ *vsphere.Config, in *vch.Options) { in.BootISO += ".absent" },
	} {
		cfg, in := wanted(t, v)
		change(&cfg, &in)
		_, err := vch.PlanCreate(t.Context(), cfg, in)
		require.ErrorContains(t, err, says)
	}
	cfg, in := wanted(t, v)
	require.NoError(t, vch.Create(t.Context(), plan(t, cfg, in)))
	require.NoError(t, os.WriteFile(in.BootISO, []byte("IMAGE"), 0o600)) // of the same size
	_, err := vch.PlanCreate(t.Context(), cfg, in)
	require.ErrorContains(t, err, "give the new one another name")
}

func TestAVCHIsMadeAndRemovedOnVSAN(t *testing.T) {
	for _, directory := range []string{"pods", "clusters/pods"} {
		t.Run(directory, func(t *testing.T) {
			v := testvcenter.Cluster(t)
			v.OnVSAN()
			cfg, in := wanted(t, v)
			cfg.Directory = directory
			require.NoError(t, vch.Create(t.Context(), plan(t, cfg, in)))
			for _, s := range plan(t, cfg, in) {
				assert.True(t, s.Exists, s.Subject)
			}
			removal, err := vch.PlanRemoval(t.Context(), cfg)
			require.NoError(t, err)
			require.NoError(t, vch.Remove(t.Context(), removal))
			for _, s := range plan(t, cfg, in) {
				assert.Equal(t, s.Subject == "boot ISO", s.Exists, s.Subject)
			}
		})
	}
}
