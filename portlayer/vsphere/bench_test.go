//go:build !race

package vsphere_test

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
	"golang.org/x/sync/errgroup"

	"github.com/virtual-kubelet/vic/internal/vcsim"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/vsphere"
)

// workers is how many pods are made at once.
const workers = 16

// benchPods is how many pods one run makes.
func benchPods() int {
	if testing.Short() {
		return 100
	}
	return 1000
}

// BenchmarkPodsToPoweredOn compares pods that are made through the hypervisor with the same VMs made by CreateVM_Task and
// PowerOnVM_Task alone, each awaited as govmomi does: as many at once, with the same watch of the folder.
//
//	ratio         time through the hypervisor by time without it
//	calls/pod     SOAP calls through the hypervisor, all that it makes meanwhile counted
func BenchmarkPodsToPoweredOn(b *testing.B) {
	var layer, bare time.Duration
	var layerCalls, bareCalls int64
	for b.Loop() {
		specs, took, calls := throughHypervisor(b)
		layer, layerCalls = layer+took, layerCalls+calls
		took, calls = withoutHypervisor(b, specs)
		bare, bareCalls = bare+took, bareCalls+calls
	}
	pods := float64(b.N * benchPods())
	b.ReportMetric(layer.Seconds()/bare.Seconds(), "ratio")
	b.ReportMetric(float64(layerCalls)/pods, "calls/pod")
	b.ReportMetric(float64(bareCalls)/pods, "bare-calls/pod")
	b.ReportMetric(pods/layer.Seconds(), "pods/s")
	b.ReportMetric(pods/bare.Seconds(), "bare-pods/s")
}

// BenchmarkIdlePods measures what idle pods cost, in SOAP calls a minute. BENCH_IDLE says how long it measures.
func BenchmarkIdlePods(b *testing.B) {
	window := 70 * time.Second // longer than one wait of a collector
	if s := os.Getenv("BENCH_IDLE"); s != "" {
		var err error
		window, err = time.ParseDuration(s)
		require.NoError(b, err)
	}
	s := newBench(b)
	h := s.open()
	s.pods(h)
	for b.Loop() {
		before := s.calls.Load()
		select {
		case <-time.After(window):
		case <-b.Context().Done():
		}
		b.ReportMetric(float64(s.calls.Load()-before)/window.Minutes(), "calls/min")
	}
}

// bench is a simulated vCenter that counts what it is asked and keeps what VMs are made of.
type bench struct {
	*testing.B
	model  *simulator.Model
	target vsphere.Target
	admin  *govmomi.Client
	calls  atomic.Int64

	mu    sync.Mutex // guards specs
	specs []types.VirtualMachineConfigSpec
}

func newBench(b *testing.B) *bench {
	b.Helper()
	s := &bench{B: b, model: simulator.VPX()}
	s.model.Machine, s.model.Host = 0, 0
	require.NoError(b, s.model.Create())
	b.Cleanup(s.model.Remove)
	s.model.Service.TLS = new(tls.Config)
	s.model.Map().Handler = func(ctx *simulator.Context, m *simulator.Method) (mo.Reference, types.BaseMethodFault) {
		vcsim.BeforeCall(ctx, m)
		s.calls.Add(1)
		if create, ok := m.Body.(*types.CreateVM_Task); ok {
			s.mu.Lock()
			s.specs = append(s.specs, create.Config)
			s.mu.Unlock()
		}
		return nil, nil
	}
	server := s.model.Service.NewServer()
	b.Cleanup(server.Close)
	dir := b.TempDir()
	password, _ := server.URL.User.Password()
	s.target = vsphere.Target{
		Address: server.URL.Host, User: server.URL.User.Username(),
		PasswordFile: filepath.Join(dir, "password"), CAFile: filepath.Join(dir, "ca.pem"),
	}
	require.NoError(b, os.WriteFile(s.target.PasswordFile, []byte(password), 0o600))
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	require.NoError(b, os.WriteFile(s.target.CAFile, ca, 0o600))
	var err error
	s.admin, err = govmomi.NewClient(b.Context(), &url.URL{Scheme: "https", Host: server.URL.Host, Path: "/sdk", User: server.URL.User}, true)
	require.NoError(b, err)
	return s
}

func (s *bench) open() *vsphere.Hypervisor {
	s.Helper()
	session, err := vsphere.Connect(s.Context(), s.target)
	require.NoError(s, err)
	h, err := vsphere.Open(s.Context(), vsphere.Config{Name: "vch", Guests: newGuests(), Session: session, BootISO: "[LocalDS_0] boot.iso"})
	require.NoError(s, err)
	s.Cleanup(func() {
		h.Close()
		session.Close(context.WithoutCancel(s.Context()))
	})
	return h
}

// pods makes pods, each with an image's disk and a scratch disk, and powers them on.
func (s *bench) pods(h *vsphere.Hypervisor) {
	s.Helper()
	image, err := h.EnsureDisk(s.Context(), source("image"))
	require.NoError(s, err)
	s.each(func(ctx context.Context, n int) error {
		pod := spec(portlayer.Disk{Kind: portlayer.DiskImage, Serial: "image0", Ref: image})
		pod.ID, pod.Owner.Name = fmt.Sprintf("uid-%d", n), fmt.Sprintf("pod-%d", n)
		if _, err := h.Create(ctx, pod); err != nil {
			return err
		}
		return h.PowerOn(ctx, pod.ID)
	})
}

// each runs do for every pod, as many at once as there are workers.
func (s *bench) each(do func(ctx context.Context, n int) error) {
	s.Helper()
	group, ctx := errgroup.WithContext(s.Context())
	group.SetLimit(workers)
	for n := range benchPods() {
		group.Go(func() error { return do(ctx, n) })
	}
	require.NoError(s, group.Wait())
}

func throughHypervisor(b *testing.B) ([]types.VirtualMachineConfigSpec, time.Duration, int64) {
	b.Helper()
	s := newBench(b)
	h := s.open()
	_, err := h.EnsureDisk(b.Context(), source("image"))
	require.NoError(b, err)
	s.mu.Lock()
	s.specs = nil // of the import
	s.mu.Unlock()
	before, began := s.calls.Load(), time.Now()
	s.pods(h)
	took, calls := time.Since(began), s.calls.Load()-before
	h.Close()
	return s.specs, took, calls
}

// withoutHypervisor makes VMs of specs in a vCenter of their own.
func withoutHypervisor(b *testing.B, specs []types.VirtualMachineConfigSpec) (time.Duration, int64) {
	b.Helper()
	require.Len(b, specs, benchPods())
	s := newBench(b)
	h := s.open()
	_, err := h.EnsureDisk(b.Context(), source("image"))
	require.NoError(b, err)
	h.Close()
	finder := find.NewFinder(s.admin.Client)
	dc, err := finder.DefaultDatacenter(b.Context())
	require.NoError(b, err)
	finder.SetDatacenter(dc)
	folder, err := finder.DefaultFolder(b.Context())
	require.NoError(b, err)
	pool, err := finder.DefaultResourcePool(b.Context())
	require.NoError(b, err)
	defer s.watch(folder)()
	before, began := s.calls.Load(), time.Now()
	s.each(func(ctx context.Context, n int) error {
		task, err := folder.CreateVM(ctx, specs[n], pool, nil)
		if err != nil {
			return err
		}
		made, err := task.WaitForResult(ctx)
		if err != nil {
			return err
		}
		task, err = object.NewVirtualMachine(s.admin.Client, made.Result.(types.ManagedObjectReference)).PowerOn(ctx)
		if err != nil {
			return err
		}
		return task.Wait(ctx)
	})
	return time.Since(began), s.calls.Load() - before
}

// watch watches a folder's VMs as the hypervisor does, until the function that it returns is called.
func (s *bench) watch(folder *object.Folder) (stop func()) {
	s.Helper()
	v, err := view.NewManager(s.admin.Client).CreateContainerView(s.Context(), folder.Reference(), []string{"VirtualMachine"}, true)
	require.NoError(s, err)
	signs := []string{"config.changeVersion", "runtime.powerState", "summary.runtime.bootTime"}
	filter := new(property.WaitFilter).Add(v.Reference(), "VirtualMachine", signs, v.TraversalSpec())
	ctx, cancel := context.WithCancel(s.Context())
	var done sync.WaitGroup
	done.Go(func() { // ends with ctx
		_ = property.WaitForUpdatesEx(ctx, property.DefaultCollector(s.admin.Client), filter,
			func([]types.ObjectUpdate) bool { return false })
	})
	return func() {
		cancel()
		done.Wait()
	}
}
