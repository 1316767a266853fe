package usage

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/cache"
	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
)

const (
	// guestTimeout is how long one guest may take: less than a scraper waits for all (metrics-server: 10 s).
	guestTimeout = 3 * time.Second
	// atOnce is how many guests are asked at a time.
	atOnce = 64
	// freshFor is how long an answer serves those who ask again, whoever they are: it bounds what guests are asked.
	freshFor = 2 * time.Second
)

// Host measures what pods use. podvm.PodHost is one.
type Host interface {
	Capacity(ctx context.Context) (portlayer.Capacity, error)
	Get(ctx context.Context, uid string) (podvm.VM, error)
	Stats(ctx context.Context, uid string) (wire.Stats, error)
}

// Pods lists the node's pods. *cache.Pods is one.
type Pods interface {
	List() []cache.Entry
}

// Config is what a Collector needs.
type Config struct {
	NodeName string
	Host     Host
	Pods     Pods
}

// Collector asks hosts and guests what is used. It is safe for concurrent use.
type Collector struct {
	cfg   Config
	begun time.Time

	mu     sync.Mutex // held while guests are asked; guards all below
	latest *sample
	before map[key]point // of the sample before latest, for rates
}

// New returns a Collector.
func New(cfg Config) *Collector { return &Collector{cfg: cfg, begun: time.Now()} }

// sample is what was used at one time.
type sample struct {
	at    time.Time
	node  nodeUsage
	pods  []podUsage
	whole bool // nothing was left out
	rates map[key]uint64
}

type nodeUsage struct {
	known    bool
	capacity portlayer.Capacity
}

// podUsage is a running pod with what its guest said.
type podUsage struct {
	pod   *corev1.Pod
	stats wire.Stats
}

// sample asks everybody, unless that was done a moment ago.
func (c *Collector) sample(ctx context.Context) *sample {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.latest != nil && time.Since(c.latest.at) < freshFor {
		return c.latest
	}
	s := &sample{at: time.Now(), whole: true}
	capacity, err := c.cfg.Host.Capacity(ctx)
	if err != nil {
		logging.From(ctx).WarnContext(ctx, "usage of the node not read", "err", err)
		s.whole = false
	}
	s.node = nodeUsage{known: err == nil, capacity: capacity}
	c.askGuests(ctx, s)
	c.rate(s)
	if ctx.Err() == nil {
		c.latest = s
	}
	return s
}

// askGuests asks the guests of all pods that run. Those that are silent or fail are left out.
func (c *Collector) askGuests(ctx context.Context, s *sample) {
	var mu sync.Mutex // guards s
	var group errgroup.Group
	group.SetLimit(atOnce)
	for _, e := range c.cfg.Pods.List() {
		if e.Restored || e.Pod.Status.Phase != corev1.PodRunning {
			continue
		}
		group.Go(func() error {
			stats, ok := c.ask(ctx, e.Pod)
			mu.Lock()
			defer mu.Unlock()
			if ok {
				s.pods = append(s.pods, podUsage{e.Pod, stats})
			} else {
				s.whole = false
			}
			return nil
		})
	}
	_ = group.Wait() // nothing fails
}

func (c *Collector) ask(ctx context.Context, pod *corev1.Pod) (wire.Stats, bool) {
	ctx, cancel := context.WithTimeout(ctx, guestTimeout)
	defer cancel()
	vm, err := c.cfg.Host.Get(ctx, string(pod.UID))
	if err != nil || vm.State != portlayer.StateRunning || !vm.SilentSince.IsZero() {
		return wire.Stats{}, false
	}
	stats, err := c.cfg.Host.Stats(ctx, string(pod.UID))
	if err != nil {
		logging.From(ctx).DebugContext(ctx, "usage of pod not read", "pod", pod.Namespace+"/"+pod.Name, "err", err)
		return wire.Stats{}, false
	}
	return stats, true
}

// key names what has a processor time: a container of a pod, the pod itself (no container), or the node (the zero key).
type key struct{ uid, container string }

// point is a processor time.
type point struct {
	at      time.Time
	cpu     time.Duration
	started time.Time
}

// rate makes rates of s and the sample before.
func (c *Collector) rate(s *sample) {
	points := map[key]point{}
	if s.node.known {
		points[key{}] = point{at: s.at, cpu: s.node.capacity.UsedCPU, started: c.begun}
	}
	for _, p := range s.pods {
		uid := string(p.pod.UID)
		points[key{uid: uid}] = point{at: p.stats.Time, cpu: p.stats.Pod.CPU}
		for _, u := range p.stats.Containers {
			points[key{uid, u.Name}] = point{p.stats.Time, u.Usage.CPU, startOf(p.pod, u.Name)}
		}
	}
	s.rates = map[key]uint64{}
	for k, now := range points {
		was, ok := c.before[k]
		elapsed := now.at.Sub(was.at)
		if ok && elapsed > 0 && now.cpu >= was.cpu && now.started.Equal(was.started) {
			s.rates[k] = uint64(float64(now.cpu-was.cpu) / elapsed.Seconds())
		}
	}
	c.before = points
}

// startOf is when the current attempt of a container started; the zero time where that is not known.
func startOf(pod *corev1.Pod, container string) time.Time {
	st := &pod.Status
	for _, list := range [][]corev1.ContainerStatus{st.ContainerStatuses, st.InitContainerStatuses, st.EphemeralContainerStatuses} {
		for i := range list {
			if list[i].Name == container && list[i].State.Running != nil {
				return list[i].State.Running.StartedAt.Time
			}
		}
	}
	return time.Time{}
}
