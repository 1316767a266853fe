package portlayertest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/virtual-kubelet/vic/portlayer"
)

const diskBytes = 1 << 20

// Run tests a hypervisor's contract; open returns one without VMs.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	t.Helper()
	RunWithoutGuest(t, open)
	run(t, open, map[string]func(t *tester){
		"disks come and go while the VM runs":       hotPlug,
		"a running VM keeps its size":               resizeRunning,
		"a guest that runs answers each connection": dial,
		"a VM that does not run has nobody to dial": dialRefused,
		"a guest powers its VM off":                 guestPowersOff,
		"a VM that was killed says why it stopped":  killed,
		"the next process finds VMs as they are":    adopted,
		"volumes come and go, running or not":       volumesComeAndGo,
		"a VM that goes leaves its volumes":         volumeOutlivesVM,
	})
}

// RunWithoutGuest tests the part of the contract that needs no guest of ours, as for VMs that boot a disk of their own.
func RunWithoutGuest(t *testing.T, open func(t *testing.T) Harness) {
	t.Helper()
	run(t, open, map[string]func(t *tester){
		"a created VM is listed and off":                     createdIsListed,
		"creating a VM that exists is refused":               createTwice,
		"an update replaces the spec and the version":        updateReplaces,
		"a stale or missing VM is not updated":               updateRefused,
		"power goes on and off, and again":                   power,
		"powering a missing VM":                              powerMissing,
		"destroying removes the VM, running or gone":         destroy,
		"a VM without a guest of ours boots its own disk":    bootDisk,
		"a boot that makes no sense is refused":              bootRefused,
		"a disk is made once, however many ask":              ensureOnce,
		"a disk whose source breaks is not there":            ensureWhole,
		"a VM with a disk that was not made is refused":      createWithoutDisk,
		"disks that nobody has or wants are collected":       collect,
		"a watcher hears of every change":                    watch,
		"the console of a missing VM is not found":           consoleMissing,
		"capacity says what there is and what is left of it": capacity,
		"a volume is in one VM at a time":                    volumeInOneVM,
		"of VMs that want a volume at once one gets it":      volumeRace,
		"volumes that are not there are refused":             volumeRefused,
	})
}

func run(t *testing.T, open func(t *testing.T) Harness, tests map[string]func(t *tester)) {
	t.Helper()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := newTester(t, open)
			defer h.clear()
			test(h)
		})
	}
}

func createdIsListed(t *tester) {
	begin := time.Now()
	vm := t.create("uid-1")
	requireSameVM(t, vm, t.get("uid-1"))
	assert.Equal(t, t.spec("uid-1"), vm.Spec)
	assert.Equal(t, portlayer.StateCreated, vm.State)
	assert.NotZero(t, vm.Version)
	assert.WithinDuration(t, begin, vm.CreatedAt, t.Timeout)
	assert.Zero(t, vm.StartedAt)
	assert.Zero(t, vm.PID)
}

func createTwice(t *tester) {
	vm := t.create("uid-1")
	other := t.spec("uid-1")
	other.Owner.Name = "other"
	_, err := t.Hypervisor.Create(t.ctx, other)
	require.ErrorIs(t, err, portlayer.ErrExists)
	requireSameVM(t, vm, t.get("uid-1"))
}

func updateReplaces(t *tester) {
	vm := t.create("uid-1")
	spec := vm.Spec.Clone()
	spec.Owner.Generation = 2
	spec.Size.MemoryBytes += 64 << 20
	spec.Annotations = map[string]string{"note": "app"}
	updated, err := t.Hypervisor.Update(t.ctx, spec, vm.Version)
	require.NoError(t, err)
	assert.Equal(t, spec, updated.Spec)
	assert.NotEqual(t, vm.Version, updated.Version)
	requireSameVM(t, updated, t.get("uid-1"))
}

func updateRefused(t *tester) {
	_, err := t.Hypervisor.Update(t.ctx, t.spec("uid-1"), 1)
	require.ErrorIs(t, err, portlayer.ErrNotFound)
	vm := t.create("uid-1")
	spec := vm.Spec.Clone()
	spec.Annotations = map[string]string{"note": "first"}
	updated, err := t.Hypervisor.Update(t.ctx, spec, vm.Version)
	require.NoError(t, err)
	spec.Annotations = map[string]string{"note": "second"}
	_, err = t.Hypervisor.Update(t.ctx, spec, vm.Version)
	require.ErrorIs(t, err, portlayer.ErrStaleHandle)
	requireSameVM(t, updated, t.get("uid-1"))
}

// image makes a disk and returns it as part of a VM.
func (t *tester) image(serial string, c *content) portlayer.Disk {
	t.Helper()
	ref, err := t.Hypervisor.EnsureDisk(t.ctx, c.DiskSource)
	require.NoError(t, err)
	return portlayer.Disk{Kind: portlayer.DiskImage, Serial: serial, Ref: ref}
}

func hotPlug(t *tester) {
	vm := t.create("uid-1")
	t.start("uid-1")
	spec := vm.Spec.Clone()
	spec.Disks = append(spec.Disks, t.image("image0", newContent("a")), t.image("image1", newContent("b")))
	added, err := t.Hypervisor.Update(t.ctx, spec, vm.Version)
	require.NoError(t, err)
	assert.Equal(t, spec, added.Spec)
	assert.Equal(t, portlayer.StateRunning, added.State)

	spec = spec.Clone()
	spec.Disks = slices.Delete(spec.Disks, 1, 2)
	removed, err := t.Hypervisor.Update(t.ctx, spec, added.Version)
	require.NoError(t, err)
	assert.Equal(t, spec, removed.Spec)
	requireSameVM(t, removed, t.get("uid-1"))
}

func resizeRunning(t *tester) {
	vm := t.create("uid-1")
	t.start("uid-1")
	vm = t.get(vm.ID())
	spec := vm.Spec.Clone()
	spec.Size.MemoryBytes *= 2
	_, err := t.Hypervisor.Update(t.ctx, spec, vm.Version)
	require.ErrorIs(t, err, portlayer.ErrUnsupported)
	requireSameVM(t, vm, t.get("uid-1"))
}

// start powers a VM on and waits until its guest has greeted.
func (t *tester) start(uid string) {
	t.Helper()
	require.NoError(t, t.Hypervisor.PowerOn(t.ctx, uid))
	link := t.link(uid)
	link.Close()
}

func power(t *tester) {
	t.create("uid-1")
	require.NoError(t, t.Hypervisor.PowerOn(t.ctx, "uid-1"))
	first := t.get("uid-1")
	assert.Equal(t, portlayer.StateRunning, first.State)
	assert.WithinDuration(t, time.Now(), first.StartedAt, t.Timeout)
	require.NoError(t, t.Hypervisor.PowerOn(t.ctx, "uid-1"))
	requireSameVM(t, first, t.get("uid-1")) // powering on a running VM changes nothing

	require.NoError(t, t.Hypervisor.PowerOff(t.ctx, "uid-1"))
	off := t.get("uid-1")
	assert.Equal(t, portlayer.StateStopped, off.State)
	assert.Empty(t, off.StopReason)
	assert.Zero(t, off.PID)
	require.NoError(t, t.Hypervisor.PowerOff(t.ctx, "uid-1"))
	requireSameVM(t, off, t.get("uid-1")) // powering off a stopped VM changes nothing

	require.NoError(t, t.Hypervisor.PowerOn(t.ctx, "uid-1"))
	again := t.get("uid-1")
	assert.Equal(t, portlayer.StateRunning, again.State)
	assert.True(t, again.StartedAt.After(first.StartedAt))
	assert.Equal(t, first.Version, again.Version, "power is not a change of the spec")
}

func powerMissing(t *tester) {
	require.ErrorIs(t, t.Hypervisor.PowerOn(t.ctx, "uid-1"), portlayer.ErrNotFound)
	require.NoError(t, t.Hypervisor.PowerOff(t.ctx, "uid-1"))
}

func destroy(t *tester) {
	require.NoError(t, t.Hypervisor.Destroy(t.ctx, "uid-1"))
	t.create("uid-1")
	require.NoError(t, t.Hypervisor.PowerOn(t.ctx, "uid-1"))
	require.NoError(t, t.Hypervisor.Destroy(t.ctx, "uid-1"))
	_, ok := t.find("uid-1")
	require.False(t, ok)
	require.NoError(t, t.Hypervisor.Destroy(t.ctx, "uid-1"))
	require.Equal(t, portlayer.StateCreated, t.create("uid-1").State)
}

func ensureOnce(t *tester) {
	c := newContent("once")
	refs := make([]portlayer.DiskRef, 8)
	var g errgroup.Group
	for i := range refs {
		g.Go(func() (err error) {
			refs[i], err = t.Hypervisor.EnsureDisk(t.ctx, c.DiskSource)
			return err
		})
	}
	require.NoError(t, g.Wait())
	require.Len(t, slices.Compact(refs), 1)
	require.NotEmpty(t, refs[0])
	require.Equal(t, int32(1), c.opened.Load())
}

func ensureWhole(t *tester) {
	c := newContent("whole")
	cause := errors.New("source broke")
	_, err := t.Hypervisor.EnsureDisk(t.ctx, c.broken(cause))
	require.ErrorIs(t, err, cause)
	before := c.opened.Load()
	_, err = t.Hypervisor.EnsureDisk(t.ctx, c.DiskSource)
	require.NoError(t, err)
	require.Equal(t, before+1, c.opened.Load(), "a half of a disk was kept")
}

func createWithoutDisk(t *tester) {
	spec := t.spec("uid-1")
	spec.Disks = append(spec.Disks, portlayer.Disk{Kind: portlayer.DiskImage, Serial: "image0", Ref: "none"})
	_, err := t.Hypervisor.Create(t.ctx, spec)
	require.Error(t, err)
	_, ok := t.find("uid-1")
	require.False(t, ok)
}

func collect(t *tester) {
	used, wanted, unused := newContent("used"), newContent("wanted"), newContent("unused")
	vm := t.create("uid-1")
	spec := vm.Spec.Clone()
	spec.Disks = append(spec.Disks, t.image("image0", used))
	_, err := t.Hypervisor.Update(t.ctx, spec, vm.Version)
	require.NoError(t, err)
	keep := t.image("image1", wanted).Ref
	require.True(t, keep.IsOf(wanted.Digest), "%s of %s", keep, wanted.Digest)
	require.False(t, keep.IsOf(unused.Digest), "%s of %s", keep, unused.Digest)
	t.image("image2", unused)

	require.NoError(t, t.Hypervisor.CollectDisks(t.ctx, func(ref portlayer.DiskRef) bool { return ref == keep }))
	for _, c := range []*content{used, wanted, unused} {
		_, err := t.Hypervisor.EnsureDisk(t.ctx, c.DiskSource)
		require.NoError(t, err)
	}
	assert.Equal(t, int32(1), used.opened.Load())
	assert.Equal(t, int32(1), wanted.opened.Load())
	assert.Equal(t, int32(2), unused.opened.Load())
}

func watch(t *tester) {
	ctx, stop := context.WithCancel(t.ctx)
	defer stop()
	changes := t.Hypervisor.Watch(ctx)
	notified := func(what string) {
		t.Helper()
		select {
		case uid, ok := <-changes:
			require.True(t, ok)
			require.Equal(t, "uid-1", uid)
		case <-t.ctx.Done():
			require.Fail(t, "watcher was not notified", what)
		}
		for len(changes) > 0 {
			<-changes // more than one word about it is allowed
		}
	}
	vm := t.create("uid-1")
	notified("create")
	spec := vm.Spec.Clone()
	spec.Annotations = map[string]string{"note": "other"}
	_, err := t.Hypervisor.Update(t.ctx, spec, vm.Version)
	require.NoError(t, err)
	notified("update")
	require.NoError(t, t.Hypervisor.PowerOn(t.ctx, "uid-1"))
	notified("power on")
	require.NoError(t, t.Hypervisor.PowerOff(t.ctx, "uid-1"))
	notified("power off")
	require.NoError(t, t.Hypervisor.Destroy(t.ctx, "uid-1"))
	notified("destroy")
	stop()
	for range changes { // until it is closed
	}
}

func consoleMissing(t *tester) {
	reader, ok := portlayer.RoleOf[portlayer.ConsoleReader](t.Hypervisor)
	if !ok {
		return
	}
	_, err := reader.Console(t.ctx, "uid-1")
	require.ErrorIs(t, err, portlayer.ErrNotFound)
	t.create("uid-1")
	_, err = reader.Console(t.ctx, "uid-1")
	require.NoError(t, err)
}

func capacity(t *tester) {
	c, err := t.Hypervisor.Capacity(t.ctx)
	require.NoError(t, err)
	assert.Positive(t, c.CPUMilli)
	assert.Positive(t, c.MemoryBytes)
	assert.Positive(t, c.StorageBytes)
	assert.Positive(t, c.Pods)
	assert.Positive(t, c.FreeMemoryBytes)
	assert.LessOrEqual(t, c.FreeMemoryBytes, c.MemoryBytes)
	assert.LessOrEqual(t, c.FreeStorageBytes, c.StorageBytes)
}

func killed(t *tester) {
	if t.Kill == nil {
		return
	}
	t.create("uid-1")
	t.start("uid-1")
	changes := t.Hypervisor.Watch(t.ctx)
	t.Kill("uid-1")
	select {
	case uid := <-changes:
		require.Equal(t, "uid-1", uid)
	case <-t.ctx.Done():
		require.Fail(t, "watcher was not notified")
	}
	vm := t.await("uid-1", inState(portlayer.StateStopped))
	assert.NotEmpty(t, vm.StopReason)
	assert.Zero(t, vm.PID)
	if dialer, ok := portlayer.RoleOf[portlayer.Dialer](t.Hypervisor); ok {
		require.ErrorIs(t, t.dialError(dialer, "uid-1"), portlayer.ErrNotRunning)
	}
}

func adopted(t *tester) {
	if t.Reopen == nil {
		return
	}
	t.create("uid-off")
	t.create("uid-on")
	t.start("uid-on")
	on, off := t.get("uid-on"), t.get("uid-off")
	t.Hypervisor = t.Reopen()
	requireSameVM(t, off, t.get("uid-off"))
	requireSameVM(t, on, t.get("uid-on"))
	t.link("uid-on").Close()
	spec := on.Spec.Clone()
	spec.Annotations = map[string]string{"note": "other"}
	_, err := t.Hypervisor.Update(t.ctx, spec, on.Version)
	require.NoError(t, err)
}

// requireSameVM compares what two processes see; times may have lost what a file does not keep.
func requireSameVM(t *tester, want, got portlayer.VM) {
	t.Helper()
	assert.WithinDuration(t, want.CreatedAt, got.CreatedAt, time.Second)
	assert.WithinDuration(t, want.StartedAt, got.StartedAt, time.Second)
	want.CreatedAt, want.StartedAt = got.CreatedAt, got.StartedAt
	require.Equal(t, want, got)
}
