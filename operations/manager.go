package operations

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"

	"github.com/virtual-kubelet/vic/cache"
	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/wait"
	"github.com/virtual-kubelet/vic/operations/events"
	"github.com/virtual-kubelet/vic/operations/images"
	"github.com/virtual-kubelet/vic/operations/plan"
	"github.com/virtual-kubelet/vic/operations/worker"
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

	// NodeName is the virtual node whose pods these are, and Cluster the UID of its cluster. VMs of another are left alone.
	NodeName, Cluster string
	// Node returns what pods may ask of it; it is called often.
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
	cfg       Config
	images    *images.Manager
	admission *Admission
	shared    *worker.Config // by all workers
	ready     chan struct{}

	mu      sync.Mutex // guards all below
	workers map[types.UID]*worker.Worker
	// tombstones are pods whose objects are gone, with when that was heard: a late update does not bring them back.
	tombstones map[types.UID]time.Time
	orphans    orphans
	listed     bool // the pods that are not known do not exist
	shutdown   bool
	ended      bool             // Run has returned or is about to
	pending    []*worker.Worker // for Run to start

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
	if cfg.Metrics != nil {
		cfg.Metrics.MustRegister(podPhases{cfg.Cache})
	}
	metrics := worker.NewMetrics(cfg.Metrics)
	m := &Manager{
		cfg: cfg, ready: make(chan struct{}),
		images: images.New(images.Config{
			Store: cfg.Images, Secrets: cfg.Secrets, Node: cfg.NodeCredentials, Parallel: cfg.ParallelPulls, Events: cfg.Events,
			Metrics: cfg.Metrics,
		}),
		admission:  NewAdmission(AdmissionConfig{Host: cfg.Host, Node: cfg.Node, Took: metrics.Admitted}),
		workers:    map[types.UID]*worker.Worker{},
		tombstones: map[types.UID]time.Time{},
		orphans:    orphans{known: map[types.UID]worker.Orphan{}},
		news:       make(chan struct{}, 1),
	}
	m.shared = &worker.Config{
		Units: m.units(), Host: cfg.Host, Capabilities: cfg.Host.Capabilities(), Cache: cfg.Cache, Events: events.To(cfg.Events),
		Images: m.images, Admission: m.admission, HostIP: func() string { return cfg.Node().HostIP },
		Released: m.volumesReleased, Metrics: metrics,
	}
	return m
}

// units are what all workers work with.
func (m *Manager) units() worker.Units {
	cfg, caps := m.cfg, m.cfg.Host.Capabilities()
	return worker.Units{
		Creator: NewPodCreator(CreatorConfig{
			Host: cfg.Host, Admission: m.admission, Disks: m.images, Capabilities: caps,
			NodeName: cfg.NodeName, Cluster: cfg.Cluster, Scope: cfg.Scope, Defaults: cfg.Defaults,
		}),
		Starter: NewPodStarter(StarterConfig{
			Host: cfg.Host, Disks: cfg.Host, Images: m.images, Env: cfg.Env, Admission: m.admission,
			Defaults: cfg.Defaults, ClusterDNS: cfg.ClusterDNS, HostDNS: cfg.HostDNS, Node: cfg.Node, Events: cfg.Events,
		}),
		Files:   NewPodFiles(cfg.Host, cfg.Volumes, cfg.Node),
		Volumes: NewPodVolumes(cfg.Host, cfg.Volumes, caps.Volumes),
		Stopper: NewPodStopper(cfg.Host),
		Deleter: NewPodDeleter(DeleterConfig{Host: cfg.Host, Volumes: cfg.Volumes, Admission: m.admission}),
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
				if worker.IsGone(vm.Record) {
					m.Forget(types.UID(id.UID))
				}
			}
			return nil
		}
		logging.From(ctx).WarnContext(ctx, "pod VMs could not be listed", "err", err)
		if wait.For(ctx, delays.Next()) != nil {
			return errors.Join(err, ctx.Err())
		}
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
		if lost || vm.Spec.Owner.IsOf(m.cfg.Cluster, m.cfg.NodeName) {
			ours = append(ours, vm)
		}
	}
	return ours, nil
}
