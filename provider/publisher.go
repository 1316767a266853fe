package provider

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/util/workqueue"

	"github.com/virtual-kubelet/vic/cache"
	"github.com/virtual-kubelet/vic/internal/logging"
)

// publishers is how many pods' statuses are handed over or deletions made at a time.
const publishers = 16

// So many changes of one pod's status are handed over at once, and so many a second from then on: each is a write to the API
// server, and a guest can change as often as it likes.
const (
	statusBurst = 5
	statusRate  = 1
)

// publisher brings statuses from the cache to Virtual Kubelet, and API objects of pods that have ended to their end.
type publisher struct {
	provider *Provider
	client   corev1client.PodsGetter
	queue    workqueue.TypedRateLimitingInterface[types.UID]

	mu       sync.Mutex // guards what follows
	flushing map[types.UID]struct{}
	paces    map[types.UID]*pace // of pods whose status changed lately
}

// pace is how often a pod's status may change for others.
type pace struct {
	turns *rate.Limiter
	due   bool // there is a change that has not had its turn
}

func newPublisher(p *Provider, client corev1client.PodsGetter) *publisher {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[types.UID](retryBase, retryMax)
	return &publisher{
		provider: p, client: client, queue: workqueue.NewTypedRateLimitingQueue(limiter),
		flushing: map[types.UID]struct{}{}, paces: map[types.UID]*pace{},
	}
}

// changed asks for the status of that pod to be written. It never blocks.
func (p *publisher) changed(uid types.UID) { p.queue.Add(uid) }

// flush asks for all that is known now; flushed is called when it has been handed over.
func (p *publisher) flush() {
	for _, e := range p.provider.pods.List() {
		p.mu.Lock()
		p.flushing[e.Pod.UID] = struct{}{}
		p.mu.Unlock()
		p.changed(e.Pod.UID)
	}
}

func (p *publisher) flushed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.flushing) == 0
}

// begin reports whether what is published of that pod from now on counts for a flush: what has begun before may be older.
func (p *publisher) begin(uid types.UID) (counts bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, counts = p.flushing[uid]
	return counts
}

// statusChanged asks for a change of that pod's status to be written when it is its turn.
func (p *publisher) statusChanged(uid types.UID) {
	p.mu.Lock()
	pod, ok := p.paces[uid]
	if !ok {
		// One that could hand over as many again is as good as none.
		maps.DeleteFunc(p.paces, func(_ types.UID, o *pace) bool { return !o.due && o.turns.Tokens() >= statusBurst })
		pod = &pace{turns: rate.NewLimiter(statusRate, statusBurst)}
		p.paces[uid] = pod
	}
	pod.due = true
	p.mu.Unlock()
	p.changed(uid)
}

// early is how long that pod has to wait for its turn; 0 gives it one, and what has not changed needs none.
func (p *publisher) early(uid types.UID) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	pod, ok := p.paces[uid]
	if !ok || !pod.due {
		return 0
	}
	turn := pod.turns.Reserve()
	wait := turn.Delay()
	if wait > 0 {
		turn.Cancel()
	}
	pod.due = wait > 0
	return wait
}

func (p *publisher) end(uid types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.flushing, uid)
}

// run works until ctx ends.
func (p *publisher) run(ctx context.Context) {
	unsubscribe := p.provider.pods.Subscribe(func(e cache.Entry) { p.statusChanged(e.Pod.UID) })
	defer unsubscribe()
	select {
	case <-ctx.Done():
		return
	case <-p.provider.registered:
	}
	var workers sync.WaitGroup
	for range publishers {
		workers.Go(func() { // ends when the queue is shut down
			for p.next(ctx) {
			}
		})
	}
	<-ctx.Done()
	p.queue.ShutDown()
	workers.Wait()
}

func (p *publisher) next(ctx context.Context) bool {
	uid, shutdown := p.queue.Get()
	if shutdown {
		return false
	}
	defer p.queue.Done(uid)
	if ctx.Err() != nil {
		return true
	}
	counts := p.begin(uid)
	if early := p.early(uid); early > 0 && !counts {
		p.queue.AddAfter(uid, early) // with what is the newest then
		return true
	}
	if err := p.publish(ctx, uid); err != nil && ctx.Err() == nil {
		logging.From(ctx).WarnContext(ctx, "pod's end not written", "vm", uid, "err", err)
		p.queue.AddRateLimited(uid)
		return true
	}
	p.queue.Forget(uid)
	if counts {
		p.end(uid)
	}
	return true
}

// publish hands one pod to Virtual Kubelet: the API server's metadata and spec, and the status that was observed here.
// Anything else would make Virtual Kubelet undo labels, or delete a pod of the same name.
func (p *publisher) publish(ctx context.Context, uid types.UID) error {
	entry, ok := p.provider.pods.Get(uid)
	if !ok || entry.Restored {
		return nil
	}
	current := p.provider.current(entry.Pod)
	if current == nil {
		return nil
	}
	pod := current.DeepCopy()
	if entry.Pod.Status.Phase != "" {
		pod.Status = entry.Pod.Status
	}
	if pod.DeletionTimestamp != nil && entry.Finished {
		return p.finish(ctx, pod)
	}
	p.provider.notify(pod)
	return nil
}

// finish writes the last status and then deletes the API object: who watches the pod sees how its containers ended. A status
// that the API server refuses for good keeps no pod from being deleted.
func (p *publisher) finish(ctx context.Context, pod *corev1.Pod) error {
	pods := p.client.Pods(pod.Namespace)
	switch _, err := writeStatus(ctx, pods, pod); {
	case statusRefused(err):
		logging.From(ctx).WarnContext(ctx, "pod deleted without its last status", "pod", pod.Namespace+"/"+pod.Name, "vm", pod.UID, "err", err)
	case err != nil && !apierrors.IsNotFound(err):
		return err
	}
	options := metav1.NewDeleteOptions(0)
	options.Preconditions = metav1.NewUIDPreconditions(string(pod.UID))
	if err := pods.Delete(ctx, pod.Name, *options); err != nil && !isGone(ctx, pods, pod, err) {
		return fmt.Errorf("delete pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}
