package portlayer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/turns"
	"github.com/virtual-kubelet/vic/portlayer/guestlink"
	"github.com/virtual-kubelet/vic/portlayer/rundir"
)

const (
	// relistEvery is how often VMs are listed without any sign of a change.
	relistEvery = 30 * time.Second
	// commitSlots is more than there are commits at one time; whoever takes all of them is alone.
	commitSlots = 1 << 30
)

// EngineConfig sets an Engine up.
type EngineConfig struct {
	Hypervisor Hypervisor
	// Scopes are the networks that handles may join.
	Scopes []ScopeConfig
	// RunDir is the directory that keeps what happened in the pod VMs.
	RunDir string
	// NodeName is the virtual node whose pod VMs the engine links with and keeps records of; VMs of other nodes are only
	// listed. Empty takes all.
	NodeName string
	// LogBytes is when a log file is full, and LogFiles how many are kept of each attempt of a container; zero values are
	// those of rundir.Config.
	LogBytes     int64
	LogFiles     int
	Capabilities Capabilities
	// Patience is how long a guest may say nothing before it counts as silent; the zero value is 20 s.
	Patience time.Duration
	// Metrics shows what the engine and its hypervisor do; nil is nowhere.
	Metrics prometheus.Registerer
}

// Engine is a PodHost over a Hypervisor whose VMs run our guest. It is safe for concurrent use.
type Engine struct {
	config EngineConfig
	scopes map[string]*Scope
	store  *rundir.Store
	links  *guestlink.Metrics

	hub     hub
	turns   turns.Turns
	commits *semaphore.Weighted // one slot a commit, so that disks are collected while there is none
	relists chan chan<- error   // requests for a relist; each is answered once
	cancel  context.CancelFunc
	done    chan struct{} // closed when run has ended

	mu      sync.Mutex // guards what follows
	pods    map[string]*pod
	changes map[string]uint64 // commits to each pod VM so far
}

var _ PodHost = (*Engine)(nil)

// NewEngine finds the VMs that are there, takes their leases and links with those that run. It returns the
// hypervisor's error where that cannot list its VMs. ctx carries the logger; the engine ends with Close.
func NewEngine(ctx context.Context, cfg EngineConfig) (*Engine, error) {
	store, err := rundir.Open(rundir.Config{Root: cfg.RunDir, SegmentBytes: cfg.LogBytes, Segments: cfg.LogFiles})
	if err != nil {
		return nil, fmt.Errorf("open run directories: %w", err)
	}
	cfg.Hypervisor = observe(cfg.Hypervisor, cfg.Metrics)
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	e := &Engine{
		config:  cfg,
		scopes:  map[string]*Scope{},
		store:   store,
		links:   guestlink.NewMetrics(cfg.Metrics),
		commits: semaphore.NewWeighted(commitSlots),
		relists: make(chan chan<- error),
		cancel:  cancel,
		done:    make(chan struct{}),
		pods:    map[string]*pod{},
		changes: map[string]uint64{},
	}
	if err := e.prepare(ctx, life); err != nil {
		cancel()
		e.closeLinks()
		return nil, err
	}
	if cfg.Metrics != nil {
		cfg.Metrics.MustRegister(podVMs{e})
	}
	return e, nil
}

// prepare fills the engine and starts its loop, which lives as long as life.
func (e *Engine) prepare(ctx, life context.Context) error {
	for _, cfg := range e.config.Scopes {
		s, err := NewScope(cfg)
		if err != nil {
			return err
		}
		e.scopes[cfg.Name] = s
	}
	if err := e.remember(ctx); err != nil {
		return err
	}
	watch := e.config.Hypervisor.Watch(life) // before the list, so that nothing falls in between
	vms, err := e.config.Hypervisor.List(ctx)
	if err != nil {
		return fmt.Errorf("list pod VMs: %w", err)
	}
	e.observeAll(life, vms)
	// Ends at Close.
	go func() {
		defer close(e.done)
		e.run(life, watch)
	}()
	return nil
}

// Close ends everything that the engine does and keeps every VM as it is.
func (e *Engine) Close() {
	e.cancel()
	<-e.done
	e.closeLinks()
}

func (e *Engine) closeLinks() {
	for _, p := range e.all() {
		p.unlink()
		p.dir.SetLive(false) // ends those who follow a log
	}
}

// remember loads what was kept of pods by a former process.
func (e *Engine) remember(ctx context.Context) error {
	uids, err := e.store.List()
	if err != nil {
		return err
	}
	for _, uid := range uids {
		p, err := e.pod(uid, true)
		if err != nil {
			return err
		}
		if err := p.load(); err != nil {
			logging.From(ctx).WarnContext(ctx, "run directory damaged", "podUID", uid, "err", err)
		}
		if p.vm.Spec.Identity.NodeName == "" {
			p.vm.Spec.Identity.NodeName = e.config.NodeName // who else would keep it here
		}
	}
	return nil
}

// run lists the VMs whenever there may be news, until ctx ends.
func (e *Engine) run(ctx context.Context, watch <-chan string) {
	tick := time.NewTicker(relistEvery)
	defer tick.Stop()
	for {
		var waiting []chan<- error
		select {
		case _, ok := <-watch:
			if !ok {
				watch = nil
			}
		case w := <-e.relists:
			waiting = append(waiting, w)
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		waiting = e.drain(watch, waiting)
		err := e.relist(ctx)
		for _, w := range waiting {
			w <- err
		}
	}
}

// drain takes everything that one relist answers.
func (e *Engine) drain(watch <-chan string, waiting []chan<- error) []chan<- error {
	for {
		select {
		case _, ok := <-watch:
			if !ok {
				return waiting
			}
		case w := <-e.relists:
			waiting = append(waiting, w)
		default:
			return waiting
		}
	}
}

func (e *Engine) relist(ctx context.Context) error {
	vms, err := e.config.Hypervisor.List(ctx)
	if err != nil {
		if ctx.Err() == nil {
			logging.From(ctx).WarnContext(ctx, "pod VMs not listed", "err", err)
		}
		return fmt.Errorf("list pod VMs: %w", err)
	}
	e.observeAll(ctx, vms)
	return nil
}

// refresh returns when the VMs have been listed by a call that began after refresh did.
func (e *Engine) refresh(ctx context.Context) error {
	answer := make(chan error, 1)
	select {
	case e.relists <- answer:
	case <-ctx.Done():
		return ctx.Err()
	case <-e.done:
		return errors.New("engine is closed")
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-e.done:
		return errors.New("engine is closed")
	}
}

// Capabilities says what the hypervisor below can do.
func (e *Engine) Capabilities() Capabilities { return e.config.Capabilities }

// Capacity returns what the VCH offers.
func (e *Engine) Capacity(ctx context.Context) (Capacity, error) {
	return e.config.Hypervisor.Capacity(ctx)
}

// CollectDisks deletes image disks that no VM has and that keep does not want. ErrBusy while a handle is committed, whose
// disks no VM has yet.
func (e *Engine) CollectDisks(ctx context.Context, keep func(DiskRef) bool) error {
	if !e.commits.TryAcquire(commitSlots) {
		return fmt.Errorf("collect disks: %w", ErrBusy)
	}
	defer e.commits.Release(commitSlots)
	if err := e.config.Hypervisor.CollectDisks(ctx, keep); err != nil {
		return fmt.Errorf("collect disks: %w", err)
	}
	return nil
}

// Watch sends the UID of each pod VM that may have changed, each once however often it changed before it was read.
func (e *Engine) Watch(ctx context.Context) <-chan string { return e.hub.watch(ctx) }

// pod returns the record of a pod, and makes one where that is wanted; nil where there is none.
func (e *Engine) pod(uid string, create bool) (*pod, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if p, ok := e.pods[uid]; ok || !create {
		return p, nil
	}
	dir, err := e.store.Dir(uid)
	if err != nil {
		return nil, err
	}
	p := &pod{uid: uid, dir: dir}
	p.vm.Spec.Identity.UID = uid
	p.vm.State = StateRemoved
	e.pods[uid] = p
	return p, nil
}

func (e *Engine) all() []*pod {
	e.mu.Lock()
	defer e.mu.Unlock()
	pods := make([]*pod, 0, len(e.pods))
	for _, p := range e.pods {
		pods = append(pods, p)
	}
	return pods
}

func (e *Engine) drop(uid string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.pods, uid)
	delete(e.changes, uid)
}
