package images_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/internal/testevents"
	"github.com/virtual-kubelet/vic/operations/images"
	"github.com/virtual-kubelet/vic/persona"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
)

// disk is a file system of 1000 bytes with images, and the host that has disks of them.
type disk struct {
	mu     sync.Mutex // guards all below
	images []persona.Image
	other  int64 // bytes of something else
	vms    []podvm.VM
	broken error
	busy   bool
	refs   []portlayer.DiskRef // the hypervisor's disks
}

func (d *disk) Lookup(ref string) (persona.Image, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, img := range d.images {
		if slices.Contains(img.Names, ref) || img.Digest == ref {
			return img, nil
		}
	}
	return persona.Image{}, persona.ErrNotFound
}

func (d *disk) Pull(context.Context, string, persona.PullOptions) (persona.Image, error) {
	return persona.Image{}, fmt.Errorf("write layer: %w", syscall.ENOSPC)
}

func (*disk) Source(persona.Image) persona.Source { return persona.Source{} }

func (d *disk) List() ([]persona.Image, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.images), d.broken
}

func (d *disk) Discard(_ context.Context, digest string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.images = slices.DeleteFunc(d.images, func(i persona.Image) bool { return i.Digest == digest })
	return nil
}

func (d *disk) Space() (persona.Space, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	used := d.other
	seen := map[string]bool{}
	for _, img := range d.images {
		if !seen[img.DiskDigest] {
			used += img.DiskBytes
		}
		seen[img.DiskDigest] = true
	}
	return persona.Space{CapacityBytes: 1000, AvailableBytes: 1000 - used}, nil
}

func (*disk) Allocated(img persona.Image) int64 { return img.DiskBytes }

func (d *disk) CollectDisks(_ context.Context, keep func(portlayer.DiskRef) bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.busy {
		return portlayer.ErrBusy
	}
	d.refs = slices.DeleteFunc(d.refs, func(r portlayer.DiskRef) bool { return !keep(r) })
	return nil
}

// host is the disk's other face: both list.
type host struct{ *disk }

func (h host) List(context.Context) ([]podvm.VM, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.vms), nil
}

// put adds a pulled image of so many bytes.
func (d *disk) put(name string, bytes int64) persona.Image {
	d.mu.Lock()
	defer d.mu.Unlock()
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(name)))
	img := persona.Image{
		Names: []string{name}, RepoDigests: []string{name + "@" + digest}, Digest: digest, ID: digest, DiskDigest: digest, DiskBytes: bytes,
	}
	d.images = append(d.images, img)
	d.refs = append(d.refs, portlayer.DiskRef(strings.TrimPrefix(digest, "sha256:")+".ext4"))
	return img
}

// run gives a VM to a pod, with the disk of an image.
func (d *disk) run(state portlayer.State, img persona.Image) {
	d.mu.Lock()
	defer d.mu.Unlock()
	vm := portlayer.VM{State: state, Spec: portlayer.Spec{
		Owner: portlayer.Owner{Kind: "Pod", Namespace: "n", Name: "p"},
		Disks: []portlayer.Disk{{Kind: portlayer.DiskImage, Serial: "img-" + strings.TrimPrefix(img.DiskDigest, "sha256:")[:32]}},
	}}
	d.vms = append(d.vms, podvm.VM{VM: vm})
}

func (d *disk) stop() { d.set(func() { d.vms = nil }) }

func (d *disk) set(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
}

func (d *disk) names() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []string
	for _, img := range d.images {
		all = append(all, img.Names...)
	}
	return strings.Join(all, " ")
}

// collecting runs a collector with the kubelet's settings in a bubble.
func collecting(t *testing.T, test func(t *testing.T, d *disk, m *images.Manager, ev *testevents.Recorder)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d, ev := &disk{}, &testevents.Recorder{}
		m := images.New(images.Config{Store: d, Parallel: 1, Events: ev, Secrets: secrets{}})
		c := images.NewCollector(images.GC{
			Store: d, Host: host{d}, HighPercent: 85, LowPercent: 80, MinAge: 2 * time.Minute, Period: 5 * time.Minute,
		}, m, "node-1")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { // ends with ctx
			defer close(ended)
			c.Run(ctx)
		}()
		synctest.Wait()
		test(t, d, m, ev)
		cancel()
		<-ended
	})
}

// passes lets so many passes go by.
func passes(n int) {
	sleep(time.Duration(n)*5*time.Minute + time.Second)
	synctest.Wait()
}

func TestCollectorFreesWhatWasUsedTheLongestAgo(t *testing.T) {
	collecting(t, func(t *testing.T, d *disk, _ *images.Manager, ev *testevents.Recorder) {
		d.put("never", 10)
		d.run(portlayer.StateRunning, d.put("longago", 50))
		passes(1)
		d.stop()
		d.run(portlayer.StateRunning, d.put("lately", 50))
		passes(1)
		d.stop()
		d.run(portlayer.StateRunning, d.put("running", 300))
		d.run(portlayer.StateStopped, d.put("stopped", 300))
		require.Equal(t, "never longago lately running stopped", d.names(), "84 %% is not too full")
		d.set(func() { d.other = 140 })
		passes(1)
		assert.Equal(t, "lately running stopped", d.names(), "85 %% is; 50 bytes had to go")
		assert.Len(t, d.refs, 3, "their disks go with them")
		assert.Zero(t, ev.Count("Warning"), ev)
	})
}

func TestCollectorKeepsNoMoreThanAThousandImagesHoweverSmall(t *testing.T) {
	collecting(t, func(t *testing.T, d *disk, _ *images.Manager, ev *testevents.Recorder) {
		d.put("oldest", 0)
		d.put("older", 0)
		d.run(portlayer.StateRunning, d.put("running", 0))
		passes(1)
		for i := range 1000 {
			d.put(fmt.Sprint("image", i), 0)
		}
		d.set(func() { d.images[3].RepoDigests = nil }) // imported
		passes(1)
		require.Equal(t, 1001, strings.Count(d.names(), " ")+1, "new ones are left alone")
		assert.True(t, strings.HasPrefix(d.names(), "running image0 "), "those that were there first went")
		passes(1)
		require.Equal(t, 1000, strings.Count(d.names(), " ")+1)
		assert.True(t, strings.HasPrefix(d.names(), "running image0 image2 "), "what runs or was imported stays")
		assert.Zero(t, ev.Count("Warning"), ev)
	})
}

func TestCollectorKeepsWhatMayNotGo(t *testing.T) {
	collecting(t, func(t *testing.T, d *disk, m *images.Manager, ev *testevents.Recorder) {
		d.put("imported", 300)
		d.set(func() { d.images[0].RepoDigests = nil })
		d.put("held", 300)
		d.put("alsoheld", 100)
		p := pod()
		p.Spec.Containers[0].Image, p.Spec.Containers[0].ImagePullPolicy = "held", corev1.PullIfNotPresent
		_, err := m.Ensure(t.Context(), p, &p.Spec.Containers[0])
		require.NoError(t, err)
		p.Spec.Containers[0].Image = "alsoheld"
		_, ok := m.Local(p, &p.Spec.Containers[0])
		require.True(t, ok)
		passes(1)
		d.set(func() { d.other = 200 })
		d.put("young", 90)
		passes(1)
		assert.Equal(t, "imported held alsoheld young", d.names())
		assert.Equal(t, 1, ev.Count("Warning FreeDiskSpaceFailed Failed to garbage collect required amount of images. "+
			"Attempted to free 190 bytes, but only found 0 bytes eligible to free."), ev)
		assert.Zero(t, ev.Count("Warning ImageGCFailed"), "once is not an event")
		ref := ev.About()[len(ev.About())-1]
		assert.Equal(t, corev1.ObjectReference{Kind: "Node", Name: "node-1", UID: "node-1"}, ref)

		m.Release(p.UID)
		passes(1)
		assert.Equal(t, "imported alsoheld", d.names(), "who is gone holds nothing; 190 bytes had to go: %s", ev)
	})
}

func TestCollectorReportsWhatFailsAgain(t *testing.T) {
	collecting(t, func(t *testing.T, d *disk, _ *images.Manager, ev *testevents.Recorder) {
		d.set(func() { d.broken = errors.New("no index") })
		passes(1)
		assert.Zero(t, ev.Count("Warning"), ev)
		passes(1)
		assert.Equal(t, 1, ev.Count("Warning ImageGCFailed no index"), ev)
	})
}

func TestImagesThatShareADiskCountOnce(t *testing.T) {
	collecting(t, func(t *testing.T, d *disk, _ *images.Manager, _ *testevents.Recorder) {
		one, two := d.put("one", 400), d.put("two", 400)
		d.set(func() { d.images[1].DiskDigest = one.DiskDigest })
		d.put("three", 300)
		require.NotEqual(t, one.Digest, two.Digest)
		d.set(func() { d.other = 200 })
		passes(2)
		assert.Equal(t, "three", d.names(), "the first freed nothing, the second 400")
	})
}

func TestFullDiskHasImagesCollectedAtOnce(t *testing.T) {
	collecting(t, func(t *testing.T, d *disk, m *images.Manager, _ *testevents.Recorder) {
		d.put("old", 500)
		passes(1)
		sleep(2 * time.Minute)
		d.set(func() { d.other = 490 })
		p := pod()
		_, err := m.Ensure(t.Context(), p, &p.Spec.Containers[0])
		require.ErrorIs(t, err, syscall.ENOSPC)
		synctest.Wait()
		assert.Empty(t, d.names())
	})
}

func TestBusyHostIsAskedLater(t *testing.T) {
	collecting(t, func(t *testing.T, d *disk, _ *images.Manager, ev *testevents.Recorder) {
		d.set(func() { d.refs, d.busy = []portlayer.DiskRef{"0000.ext4"}, true })
		passes(3)
		assert.Len(t, d.refs, 1)
		assert.Zero(t, ev.Count("Warning"), ev)
		d.set(func() { d.busy = false })
		passes(1)
		assert.Empty(t, d.refs, "no image has it")
	})
}
