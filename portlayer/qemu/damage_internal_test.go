package qemu

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/portlayer"
)

// unstarted is a VCH whose VMs no QEMU runs.
func unstarted(t *testing.T) *Hypervisor {
	t.Helper()
	h := newHypervisor(Config{Dir: t.TempDir()})
	require.NoError(t, h.layout.prepare())
	t.Cleanup(h.Close)
	return h
}

// podSpec is the least that a VM can be made of.
func podSpec(uid string) portlayer.Spec {
	return portlayer.Spec{
		ID: uid, Owner: portlayer.Owner{Kind: "Pod", UID: uid, Namespace: "default", Name: uid},
		Size: portlayer.Size{VCPUs: 1, MemoryBytes: 128 * mib},
	}
}

// spoil makes the record of a VM unreadable, in one of the ways of ruin.
func spoil(t *testing.T, h *Hypervisor, uid, how string) {
	t.Helper()
	path := filepath.Join(h.layout.vm(uid), recordFile)
	if how == "" {
		require.NoError(t, os.Remove(path))
		return
	}
	require.NoError(t, os.WriteFile(path, []byte(how), 0o600))
}

func TestADamagedRecordIsNamedAndHidesNoOther(t *testing.T) {
	ruins := map[string]string{
		"a record that is cut off":      `{"format":1,"spec":{"disks":[`,
		"a record of another VM":        `{"format":1,"spec":{"id":"u-other"}}`,
		"no record in a VM's directory": "",
	}
	for name, ruin := range ruins {
		t.Run(name, func(t *testing.T) {
			h := unstarted(t)
			for _, uid := range []string{"u-whole", "u-ruin"} {
				_, err := h.Create(t.Context(), podSpec(uid))
				require.NoError(t, err)
			}
			h.Close()
			spoil(t, h, "u-ruin", ruin)

			vms, damaged, err := List(string(h.layout))
			require.NoError(t, err)
			require.Len(t, vms, 1)
			assert.Equal(t, "u-whole", vms[0].ID())
			require.Len(t, damaged, 1)
			assert.Equal(t, "u-ruin", damaged[0].UID)
			assert.False(t, damaged[0].Running)
			require.ErrorContains(t, damaged[0], recordFile)

			next := newHypervisor(h.config)
			defer next.Close()
			vms, err = next.List(t.Context())
			require.NoError(t, err)
			require.Len(t, vms, 1)
			require.NoError(t, next.CollectDisks(t.Context(), func(portlayer.DiskRef) bool { return false }))
			_, err = next.Create(t.Context(), podSpec("u-ruin"))
			require.ErrorIs(t, err, portlayer.ErrExists, "it may run")
			require.ErrorContains(t, err, "can't be read")

			said := next.damageCondition(t.Context())
			assert.True(t, said.True)
			assert.Contains(t, said.Message, "u-ruin")
			assert.NotContains(t, said.Message, "u-whole")
			require.NoError(t, next.Destroy(t.Context(), "u-ruin"))
			assert.NoDirExists(t, next.layout.vm("u-ruin"))
			assert.False(t, next.damageCondition(t.Context()).True)
			_, err = next.Create(t.Context(), podSpec("u-ruin"))
			require.NoError(t, err)
		})
	}
}

func TestADamagedVMThatSomebodyHoldsIsNotDestroyed(t *testing.T) {
	h := unstarted(t)
	_, err := h.Create(t.Context(), podSpec("u-ruin"))
	require.NoError(t, err)
	spoil(t, h, "u-ruin", "{")
	require.ErrorIs(t, Remove(t.Context(), string(h.layout), "u-ruin"), portlayer.ErrBusy)
	assert.DirExists(t, h.layout.vm("u-ruin"))
}

func TestImageDisksOfADamagedVMAreKeptAsFarAsTheyAreNamed(t *testing.T) {
	h := unstarted(t)
	kept, gone := strings.Repeat("a", 64)+".ext4", strings.Repeat("b", 64)+".ext4"
	for _, name := range []string{kept, gone} {
		require.NoError(t, os.WriteFile(h.layout.disk(name), nil, 0o600))
	}
	_, err := h.Create(t.Context(), podSpec("u-ruin"))
	require.NoError(t, err)
	h.Close()
	spoil(t, h, "u-ruin", `{"spec":{"disks":[{"ref":"`+kept+`"`)
	require.NoError(t, h.CollectDisks(t.Context(), func(portlayer.DiskRef) bool { return false }))
	assert.FileExists(t, h.layout.disk(kept))
	assert.NoFileExists(t, h.layout.disk(gone))
}

func TestNoUserIsGivenTwiceWhateverBecomesOfRecords(t *testing.T) {
	require.Zero(t, os.Geteuid(), "users of VMs need root")
	h := unstarted(t)
	// As if the first choice of u-first was taken when that was made.
	const second = "u-second"
	wanted := h.firstChoice(second)
	dir := h.layout.vm("u-first")
	held, err := makeVM(dir, &record{Format: portlayer.Format, Spec: podSpec("u-first"), Owner: wanted})
	require.NoError(t, err)
	require.NoError(t, held.Close())
	for _, ruin := range []string{`{"format":1}`, "{", ""} {
		spoil(t, h, "u-first", ruin)
		got, err := h.leaseOwner(second)
		require.NoError(t, err)
		assert.Equal(t, wanted+1, got)
		require.NoError(t, os.WriteFile(filepath.Join(dir, recordFile), nil, 0o600))
	}
}
