package provider

import (
	"context"
	"fmt"
	"sync"

	"github.com/virtual-kubelet/virtual-kubelet/node"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1listers "k8s.io/client-go/listers/core/v1"

	"github.com/virtual-kubelet/vic/cache"
	"github.com/virtual-kubelet/vic/portlayer"
)

// Manager is the part of operations that a node drives. Every method returns at once.
type Manager interface {
	// Sync hands over a pod that should be as it is in the API server, or is being deleted there.
	Sync(pod *corev1.Pod)
	// Forget says that the API object of that UID is gone.
	Forget(uid types.UID)
	// Resync gives the first complete list of the node's pods.
	Resync(known []*corev1.Pod)
}

// Pods is the last known state of the node's pods. *cache.Pods is one.
type Pods interface {
	Get(uid types.UID) (cache.Entry, bool)
	Lookup(namespace, name string) (cache.Entry, bool)
	List() []cache.Entry
	Subscribe(fn func(cache.Entry)) (unsubscribe func())
}

var (
	_ node.PodLifecycleHandler = (*Provider)(nil)
	_ node.PodNotifier         = (*Provider)(nil)
)

// Provider answers Virtual Kubelet's pod controller. It is safe for concurrent use and decides nothing.
type Provider struct {
	manager Manager
	pods    Pods
	known   corev1listers.PodLister

	registered chan struct{} // closed once notify is set
	once       sync.Once     // guards notify
	notify     func(*corev1.Pod)
}

// NewProvider returns a Provider over known, the API server's pods of this node.
func NewProvider(manager Manager, pods Pods, known corev1listers.PodLister) *Provider {
	return &Provider{manager: manager, pods: pods, known: known, registered: make(chan struct{})}
}

// CreatePod wakes operations for the pod. What goes wrong later appears in its status, never here.
func (p *Provider) CreatePod(_ context.Context, pod *corev1.Pod) error {
	p.wake(pod)
	return nil
}

// UpdatePod wakes operations for the pod.
func (p *Provider) UpdatePod(_ context.Context, pod *corev1.Pod) error {
	p.wake(pod)
	return nil
}

// DeletePod wakes operations for the pod, whose object says that it is being deleted. A pod that has no object left is
// not touched: the watch sees that, and a pod VM without one waits for the collector's grace time.
func (p *Provider) DeletePod(_ context.Context, pod *corev1.Pod) error {
	p.wake(pod)
	return nil
}

// GetPod returns the newest pod of that name.
func (p *Provider) GetPod(_ context.Context, namespace, name string) (*corev1.Pod, error) {
	entry, err := p.lookup(namespace, name)
	if err != nil {
		return nil, toVK(err)
	}
	return entry.Pod, nil
}

// GetPodStatus returns the observed status of the newest pod of that name.
func (p *Provider) GetPodStatus(ctx context.Context, namespace, name string) (*corev1.PodStatus, error) {
	pod, err := p.GetPod(ctx, namespace, name)
	if err != nil {
		return nil, err
	}
	return &pod.Status, nil
}

// GetPods returns all pods of which more is known than a VM.
func (p *Provider) GetPods(context.Context) ([]*corev1.Pod, error) {
	entries := p.pods.List()
	pods := make([]*corev1.Pod, 0, len(entries))
	for _, e := range entries {
		if !e.Restored {
			pods = append(pods, e.Pod)
		}
	}
	return pods, nil
}

// NotifyPods keeps the callback by which statuses reach Virtual Kubelet; the first one stays.
func (p *Provider) NotifyPods(_ context.Context, notify func(*corev1.Pod)) {
	p.once.Do(func() {
		p.notify = notify
		close(p.registered)
	})
}

// finished says that the object of a pod which is being deleted may go: nothing of it runs or will run. So it is with a
// pod that nothing is known of.
func (p *Provider) finished(uid types.UID) bool {
	entry, ok := p.pods.Get(uid)
	return !ok || entry.Finished
}

// wake hands over the pod as the API server has it now: Virtual Kubelet's copy may be older than what the watch has
// handed over already, or of another pod with the same name.
func (p *Provider) wake(pod *corev1.Pod) {
	if current := p.current(pod); current != nil {
		p.manager.Sync(current.DeepCopy())
	}
}

// current returns the API server's object of that very pod, nil where there is none. It is not to be changed.
func (p *Provider) current(pod *corev1.Pod) *corev1.Pod {
	current, err := p.known.Pods(pod.Namespace).Get(pod.Name)
	if err != nil || current.UID != pod.UID {
		return nil
	}
	return current
}

// lookup never returns a pod that is being deleted while the API server has another one of that name.
func (p *Provider) lookup(namespace, name string) (cache.Entry, error) {
	entry, ok := p.pods.Lookup(namespace, name)
	if !ok || entry.Restored {
		return cache.Entry{}, fmt.Errorf("pod %s/%s: %w", namespace, name, portlayer.ErrNotFound)
	}
	if current, err := p.known.Pods(namespace).Get(name); err == nil && current.UID != entry.Pod.UID {
		return cache.Entry{}, fmt.Errorf("pod %s/%s of UID %s: %w", namespace, name, current.UID, portlayer.ErrNotFound)
	}
	return entry, nil
}
