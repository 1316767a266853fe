package operations_test

import (
	"context"
	"log/slog"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/virtual-kubelet/vic/cache"
	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/testevents"
	"github.com/virtual-kubelet/vic/operations"
	"github.com/virtual-kubelet/vic/operations/environment"
	"github.com/virtual-kubelet/vic/operations/images/imagestest"
	"github.com/virtual-kubelet/vic/operations/plan"
	"github.com/virtual-kubelet/vic/operations/volumes"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
	"github.com/virtual-kubelet/vic/portlayer/portlayertest/fakeguest"
	"github.com/virtual-kubelet/vic/portlayer/portlayertest/memhv"
)

const (
	nodeName = "node"
	uid      = "uid-1"
)

// node is a Manager over the real host and a hypervisor in memory, inside a synctest bubble.
type node struct {
	t       *testing.T
	hv      *memhv.Hypervisor
	runDir  string
	store   *imagestest.Store
	volumes *fakeVolumes
	env     *fakeEnv
	events  *testevents.Recorder
	logged  *loggedErrors
	pods    *cache.Pods
	written *apiServer
	manager *operations.Manager
	metrics *prometheus.Registry // of this run
	mu      sync.Mutex           // guards facts where a test changes them while the program runs
	facts   operations.NodeFacts
	cluster string
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
			store:   imagestest.NewStore(),
			volumes: &fakeVolumes{data: "one"},
			env:     &fakeEnv{},
			events:  &testevents.Recorder{},
			cluster: "cluster-1",
			logged:  &loggedErrors{},
			written: &apiServer{t: t, written: map[types.UID]corev1.PodStatus{}},
		}
		n.start()
		defer func() {
			n.stop()
			vms, _ := n.hv.List(context.Background())
			for _, vm := range vms {
				n.hv.Vanish(vm.ID())
			}
		}()
		test(t, n)
		n.checkTexts()
	})
}

// start begins a run of the program over the same VMs and run directories.
func (n *node) start() {
	n.t.Helper()
	base := logging.Into(context.Background(), slog.New(n.logged))
	layer, err := portlayer.Open(base, portlayer.Config{
		Hypervisor: n.hv,
		Scopes: []portlayer.ScopeConfig{{
			Name: "pods", Subnet: netip.MustParsePrefix("10.9.0.0/24"), Gateway: netip.MustParseAddr("10.9.0.1"),
		}},
	})
	require.NoError(n.t, err)
	host, err := podvm.Open(base, podvm.Config{
		Layer: layer, RunDir: n.runDir, NodeName: nodeName, Cluster: n.cluster,
		Capabilities: podvm.Capabilities{Hypervisor: "memory", PodNetwork: true, HotAddDisk: true, Volumes: "disks.example"},
	})
	require.NoError(n.t, err)
	n.pods, n.metrics = cache.New(), prometheus.NewRegistry()
	n.pods.Subscribe(n.written.write)
	n.manager = operations.New(operations.Config{
		Host: host, Images: n.store, Env: n.env, Volumes: n.volumes, Cache: n.pods, Events: n.events,
		NodeName: nodeName, Cluster: n.cluster, Scope: "pods",
		Node: func() operations.NodeFacts {
			n.mu.Lock()
			defer n.mu.Unlock()
			facts := n.facts
			facts.HostIP = "192.0.2.1"
			return facts
		},
		Metrics: n.metrics,
		HostDNS: func() wire.DNS { return wire.DNS{Nameservers: []string{"192.0.2.53"}} },
	})
	ctx, cancel := context.WithCancel(base)
	done := make(chan error, 1)
	go func() { done <- n.manager.Run(ctx) }()
	<-n.manager.Ready()
	n.stop = func() {
		cancel()
		require.NoError(n.t, <-done)
		host.Close()
		layer.Close()
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
		if vm.ID() == uid {
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
