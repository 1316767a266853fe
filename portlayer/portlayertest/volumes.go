package portlayertest

import (
	"errors"
	"slices"
	"sync"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/portlayer"
)

const volumeSerial = "vol-0"

func volumeDisk(volume string) portlayer.Disk {
	return portlayer.Disk{Kind: portlayer.DiskVolume, Serial: volumeSerial, Volume: volume}
}

// attach gives a VM a volume.
func (t *tester) attach(uid, volume string) (portlayer.VM, error) {
	t.Helper()
	vm := t.get(uid)
	spec := vm.Spec.Clone()
	spec.Disks = append(spec.Disks, volumeDisk(volume))
	return t.Hypervisor.Update(t.ctx, spec, vm.Version)
}

// release takes all volumes from a VM.
func (t *tester) release(uid string) (portlayer.VM, error) {
	t.Helper()
	vm := t.get(uid)
	spec := vm.Spec.Clone()
	spec.Disks = slices.DeleteFunc(spec.Disks, func(d portlayer.Disk) bool { return d.Kind == portlayer.DiskVolume })
	return t.Hypervisor.Update(t.ctx, spec, vm.Version)
}

func volumesComeAndGo(t *tester) {
	if t.Volume == nil {
		return
	}
	volume := t.Volume("data")
	t.create("uid-1")
	for _, running := range []bool{false, true} {
		if running {
			t.start("uid-1")
		}
		added, err := t.attach("uid-1", volume)
		require.NoError(t, err)
		assert.Equal(t, []portlayer.Disk{volumeDisk(volume)}, added.Spec.Volumes())
		requireSameVM(t, added, t.get("uid-1"))
		if t.Reopen != nil {
			t.Hypervisor = t.Reopen()
			requireSameVM(t, added, t.get("uid-1"))
		}
		removed, err := t.release("uid-1")
		require.NoError(t, err)
		assert.Empty(t, removed.Spec.Volumes())
		assert.NotContains(t, removed.Targets, volumeSerial)
		requireSameVM(t, removed, t.get("uid-1"))
	}
}

func volumeInOneVM(t *tester) {
	if t.Volume == nil {
		return
	}
	volume := t.Volume("data")
	t.create("uid-1")
	t.create("uid-2")
	_, err := t.attach("uid-1", volume)
	require.NoError(t, err)
	before := t.get("uid-2")
	_, err = t.attach("uid-2", volume)
	require.ErrorIs(t, err, portlayer.ErrVolumeInUse, "a VM that is off has its volume all the same")
	requireSameVM(t, before, t.get("uid-2"))
	_, err = t.release("uid-1")
	require.NoError(t, err)
	_, err = t.attach("uid-2", volume)
	require.NoError(t, err)
}

func volumeRace(t *tester) {
	if t.Volume == nil {
		return
	}
	volume := t.Volume("data")
	uids := []string{"uid-1", "uid-2", "uid-3"}
	specs, versions := map[string]portlayer.Spec{}, map[string]uint64{}
	for _, uid := range uids {
		vm := t.create(uid)
		spec := vm.Spec.Clone()
		spec.Disks = append(spec.Disks, volumeDisk(volume))
		specs[uid], versions[uid] = spec, vm.Version
	}
	var all sync.WaitGroup
	errs := make([]error, len(uids))
	for i, uid := range uids {
		all.Go(func() { _, errs[i] = t.Hypervisor.Update(t.ctx, specs[uid], versions[uid]) })
	}
	all.Wait()
	won := slices.DeleteFunc(slices.Clone(errs), func(err error) bool { return err != nil })
	require.Len(t, won, 1, "%v", errs)
	for _, err := range errs {
		require.True(t, err == nil || errors.Is(err, portlayer.ErrVolumeInUse), "%v", err)
	}
}

func volumeOutlivesVM(t *tester) {
	if t.Volume == nil {
		return
	}
	volume := t.Volume("data")
	t.create("uid-1")
	_, err := t.attach("uid-1", volume)
	require.NoError(t, err)
	t.start("uid-1")
	require.NoError(t, t.Hypervisor.Destroy(t.ctx, "uid-1"))
	t.create("uid-2")
	_, err = t.attach("uid-2", volume)
	require.NoError(t, err)
}

func volumeRefused(t *tester) {
	kind, volume := portlayer.ErrUnsupported, "6e0c6a38-3c5f-4a5c-9d3f-6f0b8f1c2d11"
	if t.Volume != nil {
		kind = portlayer.ErrVolumeNotFound
	}
	vm := t.create("uid-1")
	_, err := t.attach("uid-1", volume)
	require.ErrorIs(t, err, kind)
	requireSameVM(t, vm, t.get("uid-1"))

	spec := t.spec("uid-2")
	spec.Disks = append(spec.Disks, volumeDisk(volume))
	_, err = t.Hypervisor.Create(t.ctx, spec)
	require.ErrorIs(t, err, portlayer.ErrUnsupported)
	_, ok := t.find("uid-2")
	require.False(t, ok)
}
