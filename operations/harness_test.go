package operations_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/virtual-kubelet/vic/cache"
	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/operations"
	"github.com/virtual-kubelet/vic/operations/environment"
	"github.com/virtual-kubelet/vic/operations/plan"
	"github.com/virtual-kubelet/vic/operations/volumes"
	"github.com/virtual-kubelet/vic/persona"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/portlayertest/fakeguest"
	"github.com/virtual-kubelet/vic/portlayer/portlayertest/memhv"
)

const (
	nodeName = "node"
	uid      = "uid-1"
)

// node is a Manager over the real engine and a hypervisor in memory, inside a synctest bubble.
type node struct {
	t       *testing.T
	hv      *memhv.Hypervisor
	runDir  string
	store   *store
	volumes *fakeVolumes
	env     *fakeEnv
	events  *recorder
	pods    *cache.Pods
	manager *operations.Manager
	metrics *prometheus.Registry // of this run
	facts   operations.NodeFacts
	stop    func() // ends this run of the program and keeps the VMs
}

// onNode runs test with a node that is up.
func onNode(t *testing.T, test func(t *testing.T, n *node)) {
	t.Helper()
	dir := t.TempDir()
	// yamux keeps timers in a sync.Pool, and a timer of one bubble must not come up in another: two collections empty it.
	defer func() { runtime.GC(); runtime.GC() }()
	synctest.Test(t, func(t *testing.T) {
		n := &node{
			t: t, runDir: dir,
			hv:      memhv.New(memhv.Config{Boot: 2 * time.Second}),
			store:   newStore(),
			volumes: &fakeVolumes{data: "one"},
			env:     &fakeEnv{},
			events:  &recorder{},
		}
		n.start()
		defer func() {
			n.stop()
			vms, _ := n.hv.List(context.Background())
			for _, vm := range vms {
				n.hv.Vanish(vm.UID())
			}
		}()
		test(t, n)
	})
}

// start begins a run of the program over the same VMs and run directories.
func (n *node) start() {
	n.t.Helper()
	engine, err := portlayer.NewEngine(context.Background(), portlayer.EngineConfig{
		Hypervisor: n.hv,
		Scopes: []portlayer.ScopeConfig{{
			Name: "pods", Subnet: netip.MustParsePrefix("10.9.0.0/24"), Gateway: netip.MustParseAddr("10.9.0.1"),
		}},
		RunDir: n.runDir, NodeName: nodeName,
		Capabilities: portlayer.Capabilities{Hypervisor: "memory", PodNetwork: true, HotAddDisk: true, Volumes: "disks.example"},
	})
	require.NoError(n.t, err)
	n.pods, n.metrics = cache.New(), prometheus.NewRegistry()
	n.manager = operations.New(operations.Config{
		Host: engine, Images: n.store, Env: n.env, Volumes: n.volumes, Cache: n.pods, Events: n.events,
		NodeName: nodeName, Scope: "pods",
		Node: func() operations.NodeFacts {
			facts := n.facts
			facts.HostIP = "192.0.2.1"
			return facts
		},
		Metrics: n.metrics,
		HostDNS: func() wire.DNS { return wire.DNS{Nameservers: []string{"192.0.2.53"}} },
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.manager.Run(ctx) }()
	<-n.manager.Ready()
	n.stop = func() {
		cancel()
		require.NoError(n.t, <-done)
		engine.Close()
	}
}

// restart is a crash and a new run, that hears of the given pods.
func (n *node) restart(known ...*corev1.Pod) {
	n.stop()
	n.start()
	n.manager.Resync(known)
}

// status is what is reported of the pod.
func (n *node) status() corev1.PodStatus {
	e, ok := n.pods.Get(uid)
	if !ok {
		return corev1.PodStatus{}
	}
	return e.Pod.Status
}

// container is what is reported of the pod's first container.
func (n *node) container() corev1.ContainerStatus {
	s := n.status()
	if len(s.ContainerStatuses) == 0 {
		return corev1.ContainerStatus{}
	}
	return s.ContainerStatuses[0]
}

// await waits until ok, at most for the given time.
func (n *node) await(within time.Duration, what string, ok func() bool) {
	n.t.Helper()
	for end := time.Now().Add(within); ; {
		synctest.Wait()
		if ok() {
			return
		}
		if time.Now().After(end) {
			require.Failf(n.t, "did not happen", "%s\nstatus: %+v\nevents: %s", what, n.status(), n.events)
		}
		sleep(100 * time.Millisecond)
	}
}

// sleep lets the bubble's time pass.
func sleep(d time.Duration) { <-time.After(d) }

func (n *node) awaitPhase(p corev1.PodPhase) {
	n.t.Helper()
	n.await(time.Minute, "phase "+string(p), func() bool { return n.status().Phase == p })
}

func (n *node) awaitGone() {
	n.t.Helper()
	n.await(time.Minute, "pod VM and pod are gone", func() bool {
		vms, err := n.hv.List(context.Background())
		_, known := n.pods.Get(uid)
		return err == nil && len(vms) == 0 && !known
	})
}

func (n *node) vm() (portlayer.VM, bool) {
	vms, err := n.hv.List(context.Background())
	require.NoError(n.t, err)
	for _, vm := range vms {
		if vm.UID() == uid {
			return vm, true
		}
	}
	return portlayer.VM{}, false
}

// count is how often the hypervisor was called.
func (n *node) count(method string) int {
	var c int
	for _, m := range n.hv.Calls() {
		if m == method {
			c++
		}
	}
	return c
}

// pod is one of one container that runs a script of package fakeguest.
func pod(policy corev1.RestartPolicy, script string) *corev1.Pod {
	grace := int64(30)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: uid, Generation: 1},
		Spec: corev1.PodSpec{
			NodeName: nodeName, RestartPolicy: policy, DNSPolicy: corev1.DNSDefault,
			TerminationGracePeriodSeconds: &grace,
			Containers: []corev1.Container{{
				Name: "app", Image: "example.com/app:1", ImagePullPolicy: corev1.PullIfNotPresent,
				Command: fakeguest.Script(script),
			}},
		},
	}
}

// withConfigMap gives the pod a volume that the host fills.
func withConfigMap(p *corev1.Pod) *corev1.Pod {
	p.Spec.Volumes = []corev1.Volume{{Name: "config", VolumeSource: corev1.VolumeSource{
		ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}},
	}}}
	p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "config", MountPath: "/etc/settings"}}
	return p
}

// deleted is p with a deletion of that grace period.
func deleted(p *corev1.Pod, graceSeconds int64) *corev1.Pod {
	p = p.DeepCopy()
	at := metav1.NewTime(time.Now().Add(time.Duration(graceSeconds) * time.Second))
	p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &at, &graceSeconds
	return p
}

// withStatus is p as the API server has it after s was reported.
func withStatus(p *corev1.Pod, s corev1.PodStatus) *corev1.Pod {
	p = p.DeepCopy()
	p.Status = s
	return p
}

// recorder keeps events.
type recorder struct {
	mu   sync.Mutex // guards all
	all  []string
	refs []corev1.ObjectReference
}

func (r *recorder) Event(object apiruntime.Object, kind, reason, message string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, kind+" "+reason+" "+message)
	r.refs = append(r.refs, *object.(*corev1.ObjectReference))
}

func (r *recorder) Eventf(object apiruntime.Object, kind, reason, format string, args ...any) {
	r.Event(object, kind, reason, fmt.Sprintf(format, args...))
}

//nolint:revive // record.EventRecorder has so many
func (r *recorder) AnnotatedEventf(object apiruntime.Object, _ map[string]string, kind, reason, format string, args ...any) {
	r.Eventf(object, kind, reason, format, args...)
}

// count is how many events begin like that.
func (r *recorder) count(prefix string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	var c int
	for _, e := range r.all {
		if strings.HasPrefix(e, prefix) {
			c++
		}
	}
	return c
}

func (r *recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.all, "\n")
}

// store is an image store. Its images are in the registry unless they are local.
type store struct {
	mu      sync.Mutex // guards all below
	local   map[string]persona.Image
	failing error
	gate    chan struct{} // pulls wait for it; nil: they don't
	gated   string        // the one image whose pull waits; "" is all
	undo    time.Duration // what a pull takes to end that is called off
	now     int           // pulls that go on
	pulled  int
	auth    [][]persona.Credentials // of all pulls
	removed string                  // image that somebody else removes
}

func newStore() *store { return &store{local: map[string]persona.Image{}} }

func image(ref string) persona.Image {
	digest := fmt.Sprintf("sha256:%064x", len(ref))
	return persona.Image{
		Names: []string{ref}, RepoDigests: []string{ref[:strings.LastIndex(ref, ":")] + "@" + digest},
		Digest: digest, ID: digest, DiskDigest: digest, SizeBytes: 7, DiskBytes: 7,
		Config: persona.ImageConfig{Env: []string{"PATH=/bin"}},
	}
}

func (s *store) Lookup(ref string) (persona.Image, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if img, ok := s.local[ref]; ok {
		return img, nil
	}
	for _, img := range s.local {
		if img.Digest == ref {
			return img, nil
		}
	}
	return persona.Image{}, fmt.Errorf("look up: %w", persona.ErrNotFound)
}

func (s *store) Pull(ctx context.Context, ref string, opts persona.PullOptions) (persona.Image, error) {
	s.mu.Lock()
	gate, undo := s.gate, s.undo
	if s.gated != "" && s.gated != ref {
		gate = nil
	}
	s.now++
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.now--
	}()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			sleep(undo)
			return persona.Image{}, ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pulled++
	s.auth = append(s.auth, opts.Auth)
	if s.failing != nil {
		return persona.Image{}, s.failing
	}
	s.local[ref] = image(ref)
	return s.local[ref], nil
}

func (s *store) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failing = err
}

func (s *store) pulls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pulled
}

// pulling is how many pulls go on.
func (s *store) pulling() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *store) Source(img persona.Image) persona.Source {
	return persona.Source{Digest: img.DiskDigest, SizeBytes: 7, Open: func() (io.ReadSeekCloser, error) {
		if !s.has(img) {
			return nil, fmt.Errorf("open disk: %w", persona.ErrNotFound)
		}
		return struct {
			io.ReadSeeker
			io.Closer
		}{bytes.NewReader([]byte("content")), io.NopCloser(nil)}, nil
	}}
}

// has tells whether the image is here. One that somebody else removes is gone for the first who wants its disk.
func (s *store) has(img persona.Image) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.removed != "" {
		delete(s.local, s.removed)
		s.removed = ""
	}
	for _, here := range s.local {
		if here.Digest == img.Digest {
			return true
		}
	}
	return false
}

// fakeVolumes fills every volume with one file.
type fakeVolumes struct {
	mu      sync.Mutex // guards all below
	data    string
	failing error
	forgot  int
	disks   map[string]volumes.Disk // of claims
}

// Disk returns what a test has bound to a claim.
func (v *fakeVolumes) Disk(_ context.Context, pod *corev1.Pod, vol *corev1.Volume, _ string) (volumes.Disk, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if d, ok := v.disks[plan.ClaimName(pod, vol)]; ok {
		return d, nil
	}
	return volumes.Disk{}, &volumes.MountError{Reason: volumes.ReasonFailedMount, Message: "PVC is not bound"}
}

func (v *fakeVolumes) bind(claim string, d volumes.Disk) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.disks == nil {
		v.disks = map[string]volumes.Disk{}
	}
	v.disks[claim] = d
}

func (v *fakeVolumes) Files(_ context.Context, _ *corev1.Pod, vol *corev1.Volume, _ volumes.Inputs) (wire.Files, time.Time, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.failing != nil {
		return wire.Files{}, time.Time{}, v.failing
	}
	return wire.Files{Volume: vol.Name, Files: []wire.File{{Path: "key", Mode: 0o644, Data: []byte(v.data)}}}, time.Time{}, nil
}

func (v *fakeVolumes) Forget(types.UID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.forgot++
}

func (v *fakeVolumes) set(data string, failing error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.data, v.failing = data, failing
}

// fakeEnv resolves every environment to the pod's address.
type fakeEnv struct {
	mu      sync.Mutex // guards failing
	failing error
}

func (e *fakeEnv) Env(_ context.Context, _ *corev1.Pod, _ *corev1.Container, in environment.Inputs) ([]string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return []string{"POD_IP=" + in.PodIP}, e.failing
}

func (e *fakeEnv) fail(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.failing = err
}
