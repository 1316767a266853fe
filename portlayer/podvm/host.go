package podvm

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/virtual-kubelet/vic/internal/changes"
	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm/guestlink"
	"github.com/virtual-kubelet/vic/portlayer/podvm/rundir"
)

// Config sets a Host up.
type Config struct {
	// Layer has the VMs. Its hypervisor is a portlayer.Dialer. The caller closes it after the Host.
	Layer *portlayer.Layer
	// RunDir is the directory that keeps what happened in the pod VMs.
	RunDir string
	// NodeName is the virtual node whose pod VMs the host links with and keeps records of, and Cluster the UID of that
	// node's cluster; VMs of other nodes and clusters are only listed. An empty name takes all.
	NodeName, Cluster string
	// LogBytes is when a log file is full, and LogFiles how many are kept of each attempt of a container; zero values are
	// those of rundir.Config.
	LogBytes     int64
	LogFiles     int
	Capabilities Capabilities
	// Patience is how long a guest may say nothing before it counts as silent; the zero value is 20 s.
	Patience time.Duration
	// Metrics shows what the host does; nil is nowhere.
	Metrics prometheus.Registerer
}

// Host is a PodHost over a port layer whose VMs run our guest. It is safe for concurrent use.
type Host struct {
	config Config
	layer  *portlayer.Layer
	store  *rundir.Store
	links  *guestlink.Metrics

	hub    changes.Hub
	stop   func() // ends the calls of Observe and Vanish
	cancel context.CancelFunc

	mu   sync.Mutex // guards pods
	pods map[string]*pod
}

var _ PodHost = (*Host)(nil)

// Open finds the pod VMs that are there and links with those that run. ctx carries the logger; the host ends with Close.
// ErrUnsupported where the hypervisor has no channel to guests.
func Open(ctx context.Context, cfg Config) (*Host, error) {
	if _, ok := portlayer.RoleOf[portlayer.Dialer](cfg.Layer.Hypervisor()); !ok {
		return nil, fmt.Errorf("open host of pod VMs: the hypervisor has no channel to guests: %w", portlayer.ErrUnsupported)
	}
	store, err := rundir.Open(rundir.Config{Root: cfg.RunDir, SegmentBytes: cfg.LogBytes, Segments: cfg.LogFiles})
	if err != nil {
		return nil, fmt.Errorf("open run directories: %w", err)
	}
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	h := &Host{
		config: cfg,
		layer:  cfg.Layer,
		store:  store,
		links:  guestlink.NewMetrics(cfg.Metrics),
		cancel: cancel,
		pods:   map[string]*pod{},
	}
	if err := h.recall(ctx); err != nil {
		cancel()
		return nil, err
	}
	h.stop = h.layer.Follow(life, h)
	if cfg.Metrics != nil {
		cfg.Metrics.MustRegister(podVMs{h})
	}
	return h, nil
}

// Close ends everything that the host does and keeps every VM as it is.
func (h *Host) Close() {
	h.stop()
	h.cancel()
	for _, p := range h.all() {
		p.unlink()
		p.dir.SetLive(false) // ends those who follow a log
	}
}

// recall loads what was kept of pods by a former process.
func (h *Host) recall(ctx context.Context) error {
	ids, err := h.store.List()
	if err != nil {
		return err
	}
	var known []portlayer.VM
	for _, id := range ids {
		p, err := h.pod(id, true)
		if err != nil {
			return err
		}
		last, err := p.load()
		if err != nil {
			logging.From(ctx).WarnContext(ctx, "run directory damaged", "vm", id, "err", err)
		}
		if p.vm.Spec.Owner.Node == "" {
			p.vm.Spec.Owner.Node, p.vm.Spec.Owner.Cluster = h.config.NodeName, h.config.Cluster // no other would keep it here
		}
		if last.State != portlayer.StateRemoved {
			known = append(known, last)
		}
	}
	// One that the hypervisor does not show now is not gone for that.
	if err := h.layer.Recall(ctx, known); err != nil {
		return fmt.Errorf("look for VMs that are not listed: %w", err)
	}
	return nil
}

// Capabilities implements Facts.
func (h *Host) Capabilities() Capabilities { return h.config.Capabilities }

// Capacity implements Facts.
func (h *Host) Capacity(ctx context.Context) (portlayer.Capacity, error) {
	return h.layer.Capacity(ctx)
}

// CollectDisks deletes image disks that no VM has and that keep does not want. ErrBusy while a handle is committed, whose
// disks no VM has yet.
func (h *Host) CollectDisks(ctx context.Context, keep func(portlayer.DiskRef) bool) error {
	return h.layer.CollectDisks(ctx, keep)
}

// Watch implements Records. A slow reader gets each ID once, however often it changed.
func (h *Host) Watch(ctx context.Context) <-chan string { return h.hub.Watch(ctx) }

// pod returns the record of a pod, and makes one where that is wanted; nil where there is none.
func (h *Host) pod(id string, create bool) (*pod, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p, ok := h.pods[id]; ok || !create {
		return p, nil
	}
	dir, err := h.store.Dir(id)
	if err != nil {
		return nil, err
	}
	p := &pod{id: id, dir: dir}
	p.vm.Spec.ID = id
	p.vm.Spec.Owner = portlayer.Owner{Kind: Kind, UID: id}
	p.vm.State = portlayer.StateRemoved
	h.pods[id] = p
	return p, nil
}

func (h *Host) all() []*pod {
	h.mu.Lock()
	defer h.mu.Unlock()
	pods := make([]*pod, 0, len(h.pods))
	for _, p := range h.pods {
		pods = append(pods, p)
	}
	return pods
}

func (h *Host) drop(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.pods, id)
}
