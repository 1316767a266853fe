package cache

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Entry is what is known of one pod.
type Entry struct {
	// Pod is the pod as it was last desired, with the status that was last observed here.
	Pod *corev1.Pod
	// Restored is true when only the pod's identity is known, from its VM; its spec is empty.
	Restored bool
	// Finished is true when the pod is being deleted and that no container of it runs or will run: its object may go.
	Finished bool
}

type entry struct {
	Entry
	// nameless is true when another pod has the name, or none. The name comes back only to a restored pod, whose age is not
	// known before its object is.
	nameless bool
	// released is true once the pod has given up its name for good.
	released bool
}

// Pods is the last known state of the node's pods. The zero value is not usable; see New.
type Pods struct {
	mu      sync.RWMutex // guards all below
	entries map[types.UID]*entry
	byName  map[types.NamespacedName]types.UID

	subscribers map[int]func(Entry)
	lastID      int
}

// New returns an empty cache.
func New() *Pods {
	return &Pods{
		entries:     map[types.UID]*entry{},
		byName:      map[types.NamespacedName]types.UID{},
		subscribers: map[int]func(Entry){},
	}
}

// SetPod stores pod as desired. The status of a pod that is known already stays the one that was observed here; a new
// pod begins with the one it brings.
func (p *Pods) SetPod(pod *corev1.Pod) {
	pod = pod.DeepCopy()
	p.mu.Lock()
	defer p.mu.Unlock()
	if known, ok := p.entries[pod.UID]; ok && !known.Restored {
		pod.Status = known.Pod.Status
	}
	p.putLocked(&entry{Entry: Entry{Pod: pod}})
}

// Restore stores the identity of a pod of which nothing but the VM is known. A pod that is known already is left alone.
func (p *Pods) Restore(uid types.UID, name types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.entries[uid]; ok {
		return
	}
	meta := metav1.ObjectMeta{UID: uid, Namespace: name.Namespace, Name: name.Name}
	p.putLocked(&entry{Entry: Entry{Pod: &corev1.Pod{ObjectMeta: meta}, Restored: true}})
}

// SetStatus stores the observed status of a pod and notifies subscribers when it has changed. It answers
// whether it was; an unknown pod has none.
func (p *Pods) SetStatus(uid types.UID, status corev1.PodStatus) bool {
	p.mu.Lock()
	e, ok := p.entries[uid]
	if !ok || equality.Semantic.DeepEqual(e.Pod.Status, status) {
		p.mu.Unlock()
		return false
	}
	e.Pod.Status = *status.DeepCopy()
	publish := p.publisherLocked(e)
	p.mu.Unlock()
	publish()
	return true
}

// Finish marks a pod of which nothing runs or will run and notifies subscribers, once; an unknown pod is not an error.
func (p *Pods) Finish(uid types.UID) {
	p.mu.Lock()
	e, ok := p.entries[uid]
	if !ok || e.Finished {
		p.mu.Unlock()
		return
	}
	e.Finished = true
	publish := p.publisherLocked(e)
	p.mu.Unlock()
	publish()
}

// Get returns the pod of that UID.
func (p *Pods) Get(uid types.UID) (Entry, bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	e, ok := p.entries[uid]
	if !ok {
		return Entry{}, false
	}
	return e.copy(), true
}

// Lookup returns the newest pod of that name. A pod which is being deleted is found only while no other has its name.
func (p *Pods) Lookup(namespace, name string) (Entry, bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	uid, ok := p.byName[types.NamespacedName{Namespace: namespace, Name: name}]
	if !ok {
		return Entry{}, false
	}
	return p.entries[uid].copy(), true
}

// List returns all pods, in the order of their UIDs.
func (p *Pods) List() []Entry {
	p.mu.RLock()
	defer p.mu.RUnlock()
	all := make([]Entry, 0, len(p.entries))
	for _, e := range p.entries {
		all = append(all, e.copy())
	}
	slices.SortFunc(all, func(a, b Entry) int { return cmp.Compare(a.Pod.UID, b.Pod.UID) })
	return all
}

// ReleaseName makes the pod findable by its UID alone: its API object is gone and its VM is not yet.
func (p *Pods) ReleaseName(uid types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e, ok := p.entries[uid]; ok {
		p.releaseNameLocked(e)
	}
}

// Remove forgets a pod; an unknown one is not an error.
func (p *Pods) Remove(uid types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e, ok := p.entries[uid]; ok {
		p.releaseNameLocked(e)
		delete(p.entries, uid)
	}
}

// Subscribe calls fn after each change of a status, until the returned function is called. Changes of one pod come in
// order when one goroutine sets them. fn must not block: it is called on the goroutine of SetStatus.
func (p *Pods) Subscribe(fn func(Entry)) (unsubscribe func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lastID++
	id := p.lastID
	p.subscribers[id] = fn
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.subscribers, id)
	}
}

func (p *Pods) putLocked(e *entry) {
	known, ok := p.entries[e.Pod.UID]
	if ok {
		e.nameless = known.nameless && (known.released || !known.Restored)
		e.released, e.Finished = known.released, known.Finished
	}
	p.entries[e.Pod.UID] = e
	if e.nameless {
		return
	}
	name := nameOf(e.Pod)
	holder, held := p.entries[p.byName[name]]
	switch {
	case !held || holder.Pod.UID == e.Pod.UID:
		p.byName[name] = e.Pod.UID
	case newer(e.Pod, holder.Pod):
		holder.nameless = true
		p.byName[name] = e.Pod.UID
	default:
		e.nameless = true
	}
}

// publisherLocked returns a function that hands e to the subscribers as it is now; it is called without the lock.
func (p *Pods) publisherLocked(e *entry) func() {
	subscribers := slices.Collect(maps.Values(p.subscribers))
	changed := e.copy()
	return func() {
		for _, fn := range subscribers {
			fn(changed.copy())
		}
	}
}

func (p *Pods) releaseNameLocked(e *entry) {
	if !e.nameless {
		delete(p.byName, nameOf(e.Pod))
	}
	e.nameless, e.released = true, true
}

// newer reports whether a takes the name that b holds.
func newer(a, b *corev1.Pod) bool {
	aEnds, bEnds := a.DeletionTimestamp != nil, b.DeletionTimestamp != nil
	if aEnds != bEnds {
		return bEnds
	}
	return !a.CreationTimestamp.Before(&b.CreationTimestamp)
}

func nameOf(pod *corev1.Pod) types.NamespacedName {
	return types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}
}

func (e Entry) copy() Entry {
	e.Pod = e.Pod.DeepCopy()
	return e
}
