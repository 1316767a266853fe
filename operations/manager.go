package operations

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"

	"github.com/virtual-kubelet/vic/cache"
	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/wait"
	"github.com/virtual-kubelet/vic/operations/events"
	"github.com/virtual-kubelet/vic/operations/images"
	"github.com/virtual-kubelet/vic/operations/plan"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
	"github.com/virtual-kubelet/vic/steps"
)

// Volumes fills volumes, and drops what it keeps for a pod.
type Volumes interface {
	FileSource
	ClaimSource
	TokenForgetter
}

// Config is what a Manager works with.
type Config struct {
	Host   podvm.PodHost
	Images images.Store
	// Secrets are what pods pull with; NodeCredentials are everyone's, nil for none.
	Secrets         images.SecretSource
	NodeCredentials images.NodeCredentials

	Env     EnvSource
	Volumes Volumes
	Cache   *cache.Pods
	Events  record.EventRecorder

	// NodeName is the virtual node whose pods these are. VMs of another are left alone.
	NodeName string
	// Node tells what pods may ask of it; it is called often.
	Node func() NodeFacts
	// Scope is the network that pod VMs join; empty is none.
	Scope string
	// Defaults are for pods that say nothing; the zero value is plan.StandardDefaults.
	Defaults   plan.Defaults
	ClusterDNS plan.ClusterDNS
	// HostDNS returns the resolv.conf of the node.
	HostDNS func() wire.DNS

	// Metrics shows what operations does; nil is nowhere.
	Metrics prometheus.Registerer

	// OrphanGrace is how long a VM may be without a pod; 0 is half a minute.
	OrphanGrace time.Duration
	// ParallelPulls bounds the images that are pulled at one time; 0 is three.
	ParallelPulls int
	// ImageGC has images collected; nil is never.
	ImageGC *images.GC
}

// Manager runs the pods of one node. It is safe for concurrent use.
type Manager struct {
	cfg    Config
	units  *units
	images *images.Manager
	ready  chan struct{}

	mu      sync.Mutex // guards all below
	workers map[types.UID]*worker
	// tombstones are pods whose objects are gone, with when that was heard: a late update does not bring them back.
	tombstones map[types.UID]time.Time
	orphans    map[types.UID]time.Time // VMs without a pod, since when
	listed     bool                    // the pods that are not known do not exist
	shutdown   bool
	ended      bool      // Run has returned or is about to
	pending    []*worker // for Run to start

	news    chan struct{}  // one token: there are pending workers
	running sync.WaitGroup // of workers
}

// New returns a Manager that does nothing before Run.
func New(cfg Config) *Manager {
	if cfg.Defaults == (plan.Defaults{}) {
		cfg.Defaults = plan.StandardDefaults()
	}
	if cfg.OrphanGrace == 0 {
		cfg.OrphanGrace = orphanGrace
	}
	metrics := NewMetrics(cfg.Metrics)
	if cfg.Metrics != nil {
		cfg.Metrics.MustRegister(podPhases{cfg.Cache})
	}
	images := images.New(images.Config{
		Store: cfg.Images, Secrets: cfg.Secrets, Node: cfg.NodeCredentials, Parallel: cfg.ParallelPulls, Events: cfg.Events,
		Metrics: cfg.Metrics,
	})
	m := &Manager{
		cfg: cfg, units: newUnits(cfg, images, metrics), images: images, ready: make(chan struct{}),
		workers:    map[types.UID]*worker{},
		tombstones: map[types.UID]time.Time{},
		orphans:    map[types.UID]time.Time{},
		news:       make(chan struct{}, 1),
	}
	m.units.freed = m.volumesFreed
	return m
}

func newUnits(cfg Config, images *images.Manager, metrics *Metrics) *units {
	ev := events.To(cfg.Events)
	caps := cfg.Host.Capabilities()
	admission := NewAdmission(AdmissionConfig{Host: cfg.Host, Node: cfg.Node, Metrics: metrics})
	return &units{
		observer: cfg.Host, cache: cfg.Cache, events: ev, images: images, admission: admission, metrics: metrics,
		node: cfg.Node, hotAdd: caps.HotAddDisk,
		creator: NewPodCreator(CreatorConfig{
			Host: cfg.Host, Admission: admission, Disks: images, Capabilities: caps,
			NodeName: cfg.NodeName, Scope: cfg.Scope, Defaults: cfg.Defaults,
		}),
		starter: NewPodStarter(StarterConfig{
			Host: cfg.Host, Disks: cfg.Host, Images: images, Env: cfg.Env, Admission: admission,
			Defaults: cfg.Defaults, ClusterDNS: cfg.ClusterDNS, HostDNS: cfg.HostDNS, Node: cfg.Node, Events: cfg.Events,
		}),
		files:   NewPodFiles(cfg.Host, cfg.Volumes),
		volumes: NewPodVolumes(cfg.Host, cfg.Volumes, caps.Volumes),
		stopper: NewPodStopper(cfg.Host),
		deleter: NewPodDeleter(DeleterConfig{Host: cfg.Host, Volumes: cfg.Volumes, Admission: admission}),
	}
}

// Ready is closed when the cache knows the pod VMs that the host holds.
func (m *Manager) Ready() <-chan struct{} { return m.ready }

// Run works until ctx ends; when it returns nothing of it goes on, and the VMs are as they were. It is called once.
func (m *Manager) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer m.images.Wait()
	defer m.running.Wait()
	defer cancel()
	defer m.end()
	changed := m.cfg.Host.Watch(ctx)
	if err := m.restore(ctx); err != nil {
		return err
	}
	close(m.ready)
	if gc := m.cfg.ImageGC; gc != nil {
		collector := images.NewCollector(*gc, m.images, m.cfg.NodeName)
		m.running.Go(func() { collector.Run(ctx) }) // ends with ctx
	}
	collect := time.NewTicker(min(collectEvery, m.cfg.OrphanGrace))
	defer collect.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case uid, ok := <-changed:
			if !ok {
				<-ctx.Done()
				return nil
			}
			m.wake(types.UID(uid))
		case <-m.news:
			m.startPending(ctx)
		case <-collect.C:
			if err := m.collect(ctx); err != nil {
				logging.From(ctx).WarnContext(ctx, "orphans could not be looked for", "err", err)
			}
		}
	}
}

// restore puts the identities of this node's VMs into the cache, and tries until the host answers.
func (m *Manager) restore(ctx context.Context) error {
	delays := steps.Backoff{First: retryFirst, Max: retryMax}
	for {
		vms, err := m.owned(ctx)
		if err == nil {
			for _, vm := range vms {
				id := vm.Spec.Owner
				if id.Name == "" {
					continue
				}
				m.cfg.Cache.Restore(types.UID(id.UID), types.NamespacedName{Namespace: id.Namespace, Name: id.Name})
				if readNote(vm.Record).Gone {
					m.Forget(types.UID(id.UID))
				}
			}
			return nil
		}
		logging.From(ctx).WarnContext(ctx, "pod VMs could not be listed", "err", err)
		if wait.For(ctx, delays.Next()) != nil {
			return fmt.Errorf("list pod VMs: %w", errors.Join(err, ctx.Err()))
		}
	}
}

// startPending runs the workers that were made since the last call.
func (m *Manager) startPending(ctx context.Context) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range m.pending {
		// Ends with the pod or with ctx; Run waits for it.
		m.running.Go(func() {
			w.run(ctx)
			m.retire(w)
		})
	}
	m.pending = nil
}

// retire forgets a worker that has nothing left to do. One that the node's shutdown has ended stays, so that there is no
// other.
func (m *Manager) retire(w *worker) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.workers[w.uid] == w && !m.ended && !m.shutdown {
		delete(m.workers, w.uid)
	}
}

func (m *Manager) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = true
}

// Sync tells that pod is desired as it is now: new, changed or being deleted. It returns at once.
func (m *Manager) Sync(pod *corev1.Pod) {
	if pod.Spec.NodeName != m.cfg.NodeName {
		return
	}
	pod = pod.DeepCopy()
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, gone := m.tombstones[pod.UID]; gone {
		return
	}
	delete(m.orphans, pod.UID)
	if e, ok := m.cfg.Cache.Get(pod.UID); ok && e.Restored && !final(pod.Status.Phase) {
		m.units.admission.Adopt(pod) // before any other pod is admitted beside it
	}
	m.cfg.Cache.SetPod(pod)
	m.tellLocked(pod.UID, func(d *desired) {
		d.pod, d.known = pod, true
	})
}

// Forget tells that the pod's API object is gone. Its VM goes too, and everything that is kept of it. It returns at once.
func (m *Manager) Forget(uid types.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forgetLocked(uid)
}

func (m *Manager) forgetLocked(uid types.UID) {
	m.tombstones[uid] = time.Now()
	delete(m.orphans, uid)
	m.cfg.Cache.ReleaseName(uid)
	m.tellLocked(uid, func(d *desired) { d.gone = true })
}

// Resync tells all pods of this node that there are. From now on a VM without one of them is an orphan.
func (m *Manager) Resync(known []*corev1.Pod) {
	for _, pod := range known {
		m.Sync(pod)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.listed = true
}

// tellLocked changes what is desired of a pod, whose worker is made if there is none.
func (m *Manager) tellLocked(uid types.UID, change func(*desired)) {
	w, ok := m.workers[uid]
	if !ok {
		if m.shutdown {
			return
		}
		w = newWorker(m.units, uid)
		w.in.pod = m.identity(uid)
		m.workers[uid] = w
	}
	w.tell(change)
	if ok {
		return
	}
	m.pending = append(m.pending, w)
	select {
	case m.news <- struct{}{}:
	default:
	}
}

// identity is what is known of a pod without its object.
func (m *Manager) identity(uid types.UID) *corev1.Pod {
	if e, ok := m.cfg.Cache.Get(uid); ok {
		return e.Pod
	}
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: uid}}
}

func (m *Manager) wake(uid types.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if w, ok := m.workers[uid]; ok {
		w.wake()
	}
}

// owned lists the VMs of this node.
func (m *Manager) owned(ctx context.Context) ([]podvm.VM, error) {
	ctx, cancel := context.WithTimeout(ctx, observeTimeout)
	defer cancel()
	all, err := m.cfg.Host.List(ctx)
	if err != nil {
		return nil, err
	}
	var ours []podvm.VM
	for _, vm := range all {
		// A damaged run directory no longer says whose it was; it is of this host, and its VM is gone.
		lost := vm.State == portlayer.StateRemoved && vm.Spec.Owner.Node == ""
		if lost || vm.Spec.Owner.Node == m.cfg.NodeName {
			ours = append(ours, vm)
		}
	}
	return ours, nil
}
