package podvm_test

import (
	"bytes"
	"context"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
	"github.com/virtual-kubelet/vic/portlayer/portlayertest/fakeguest"
	"github.com/virtual-kubelet/vic/portlayer/portlayertest/memhv"
)

const testTimeout = 30 * time.Second

func testScope() portlayer.ScopeConfig {
	return portlayer.ScopeConfig{
		Name:    "default",
		Subnet:  netip.MustParsePrefix("10.9.0.0/24"),
		Gateway: netip.MustParseAddr("10.9.0.1"),
	}
}

// host is a Host with the layer that it stands on; Close closes both.
type host struct {
	*podvm.Host
	layer *portlayer.Layer
}

func (h *host) Close() {
	h.Host.Close()
	h.layer.Close()
}

func newHost(t *testing.T, hv portlayer.Hypervisor, runDir string) *host {
	t.Helper()
	return hostOf(t, hv, podvm.Config{RunDir: runDir})
}

// patience is that of a host for tests of silence.
const patience = 600 * time.Millisecond

func newImpatientHost(t *testing.T, hv portlayer.Hypervisor) *host {
	t.Helper()
	return hostOf(t, hv, podvm.Config{RunDir: t.TempDir(), Patience: patience})
}

func hostOf(t *testing.T, hv portlayer.Hypervisor, cfg podvm.Config) *host {
	t.Helper()
	layer, err := portlayer.Open(t.Context(), portlayer.Config{
		Hypervisor: hv, Scopes: []portlayer.ScopeConfig{testScope()}, Metrics: cfg.Metrics,
	})
	require.NoError(t, err)
	cfg.Layer, cfg.NodeName = layer, "node"
	cfg.Capabilities = podvm.Capabilities{Hypervisor: "memory", PodNetwork: true, HotAddDisk: true}
	h, err := podvm.Open(t.Context(), cfg)
	require.NoError(t, err)
	both := &host{h, layer}
	t.Cleanup(both.Close)
	return both
}

func owner(uid string) portlayer.Owner {
	return portlayer.Owner{Kind: podvm.Kind, UID: uid, Namespace: "default", Name: "p", Node: "node", Generation: 1}
}

// source is a disk whose content is text.
func source(digest, text string) portlayer.DiskSource {
	return portlayer.DiskSource{
		Digest:    digest,
		SizeBytes: int64(len(text)),
		Open: func() (io.ReadSeekCloser, error) {
			return struct {
				io.ReadSeeker
				io.Closer
			}{bytes.NewReader([]byte(text)), io.NopCloser(nil)}, nil
		},
	}
}

// draft is a handle with what a pod of one container needs.
func draft(t *testing.T, e *host, uid string) *portlayer.Handle {
	t.Helper()
	h, err := e.New(t.Context(), owner(uid))
	require.NoError(t, err)
	h.SetSize(portlayer.Size{VCPUs: 1, CPUMilli: 1000, MemoryBytes: 256 << 20})
	podvm.SetContainers(h, []string{"app"})
	h.AddScratch("scratch", 1<<30)
	h.AddImage("image0", source("sha256:image0", "content"))
	require.NoError(t, h.JoinScope("default"))
	return h
}

func commit(t *testing.T, e *host, uid string) podvm.VM {
	t.Helper()
	vm, err := e.Commit(t.Context(), draft(t, e, uid))
	require.NoError(t, err)
	return vm
}

// runPod takes a pod through all steps; its container runs script.
func runPod(t *testing.T, e *host, uid, policy, script string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	commit(t, e, uid)
	require.NoError(t, e.Start(ctx, uid))
	_, err := e.Configure(ctx, uid, wire.Pod{
		Namespace: "default", Name: "p", RestartPolicy: policy, Containers: []wire.Seed{{Name: "app"}},
	})
	require.NoError(t, err)
	require.NoError(t, e.Run(ctx, uid, wire.Container{Name: "app", Disks: []string{"image0"}, Args: fakeguest.Script(script)}))
}

// await returns the pod VM once it is as wanted.
func await(t *testing.T, e podvm.PodHost, uid string, wanted func(podvm.VM) bool) podvm.VM {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	watch := e.Watch(ctx)
	for {
		vm, err := e.Get(ctx, uid)
		require.NoError(t, err)
		if wanted(vm) {
			return vm
		}
		if _, ok := <-watch; !ok {
			require.Failf(t, "pod VM is not as wanted", "%+v\n%+v", vm, vm.Guest)
		}
	}
}

func TestPodRunsAndGoes(t *testing.T) {
	hv := memhv.New(memhv.Config{Boot: 50 * time.Millisecond})
	e := newHost(t, hv, t.TempDir())
	runPod(t, e, "uid-1", "Never", "echo hello; exit 3")
	vm := await(t, e, "uid-1", func(vm podvm.VM) bool {
		return vm.Guest != nil && vm.Guest.Phase == wire.PhaseDone && vm.LogsComplete
	})
	require.True(t, vm.Current)
	require.Zero(t, vm.SilentSince)
	require.Equal(t, int32(3), vm.Guest.Containers[0].Current.ExitCode)
	require.Equal(t, []netip.Addr{netip.MustParseAddr("10.9.0.2")}, vm.Guest.Addresses)

	require.NoError(t, e.PowerOff(t.Context(), "uid-1"))
	require.NoError(t, e.Remove(t.Context(), "uid-1"))
	vm, err := e.Get(t.Context(), "uid-1")
	require.NoError(t, err)
	require.Equal(t, portlayer.StateRemoved, vm.State)
	r, err := e.Logs(t.Context(), "uid-1", "app", podvm.LogOptions{})
	require.NoError(t, err)
	b, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, "hello\n", string(b))
	require.NoError(t, e.Forget(t.Context(), "uid-1"))
	_, err = e.Get(t.Context(), "uid-1")
	require.ErrorIs(t, err, portlayer.ErrNotFound)
}
