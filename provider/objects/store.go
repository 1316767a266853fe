package objects

import (
	"context"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
)

// source is one kind of object.
type source struct {
	informer  func(name types.NamespacedName) cache.SharedIndexInformer
	get       func(ctx context.Context, name types.NamespacedName) (runtime.Object, error)
	immutable func(obj runtime.Object) bool
}

// only selects one object by its name.
func only(name string) func(*metav1.ListOptions) {
	selector := fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()
	return func(o *metav1.ListOptions) { o.FieldSelector = selector }
}

// store watches objects of one kind, as long as someone refers to them.
type store struct {
	source source

	mu      sync.Mutex // guards items and closed
	items   map[types.NamespacedName]*item
	closed  bool
	watches sync.WaitGroup
}

// item is one object that is referred to.
type item struct {
	references int
	cancel     context.CancelFunc // ends the watch
	informer   cache.SharedIndexInformer
}

func newStore(s source) *store {
	return &store{source: s, items: map[types.NamespacedName]*item{}}
}

// acquire watches the object of that name until it has been released as often.
func (s *store) acquire(name types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	if it, ok := s.items[name]; ok {
		it.references++
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	it := &item{references: 1, cancel: cancel, informer: s.source.informer(name)}
	s.items[name] = it
	s.watches.Go(func() { it.informer.RunWithContext(ctx) }) // ends by cancel: release, close, or an immutable object
}

func (s *store) release(name types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	it, ok := s.items[name]
	if !ok {
		return
	}
	if it.references--; it.references == 0 {
		it.cancel()
		delete(s.items, name)
	}
}

// close ends all watches and waits for them.
func (s *store) close() {
	s.mu.Lock()
	s.closed = true
	for name, it := range s.items {
		it.cancel()
		delete(s.items, name)
	}
	s.mu.Unlock()
	s.watches.Wait()
}

// get returns the object as it was seen last. One that nobody refers to, or that the watch has not seen, is asked for:
// the first answer of a watch may come from an API server that is behind, and a missing object decides what a pod does.
func (s *store) get(ctx context.Context, name types.NamespacedName) (runtime.Object, error) {
	s.mu.Lock()
	it, ok := s.items[name]
	s.mu.Unlock()
	if !ok || !it.synced(ctx) {
		return s.source.get(ctx, name)
	}
	obj, ok, err := it.informer.GetStore().GetByKey(name.String())
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	if !ok {
		return s.source.get(ctx, name)
	}
	object, ok := obj.(runtime.Object)
	if !ok {
		return s.source.get(ctx, name)
	}
	if s.source.immutable(object) {
		it.cancel()
	}
	return object, nil
}

// synced waits, within bounds, for the first answer of the watch.
func (it *item) synced(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for !it.informer.HasSynced() {
		select {
		case <-ctx.Done():
			return false
		case <-ticker.C:
		}
	}
	return true
}
