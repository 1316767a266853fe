package objects

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	corev1informers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	corev1listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
)

// syncTimeout bounds the wait for the first answer of a watch. After it the API server is asked directly, which also
// says what is wrong.
const syncTimeout = 5 * time.Second

// Objects reads what pods refer to.
type Objects struct {
	client     kubernetes.Interface
	configMaps *store
	secrets    *store

	factory  informers.SharedInformerFactory
	services corev1listers.ServiceLister
	synced   cache.InformerSynced

	mu   sync.Mutex // guards pods
	pods map[types.UID][]reference
}

// New returns an Objects that watches nothing before Run and Register.
func New(client kubernetes.Interface) *Objects {
	factory := informers.NewSharedInformerFactory(client, 0)
	services := factory.Core().V1().Services()
	o := &Objects{
		client:   client,
		factory:  factory,
		services: services.Lister(),
		synced:   services.Informer().HasSynced,
		pods:     map[types.UID][]reference{},
	}
	o.configMaps = newStore(configMapSource(client))
	o.secrets = newStore(secretSource(client))
	return o
}

// Run watches services, and lets config maps and secrets be watched, until ctx ends.
func (o *Objects) Run(ctx context.Context) {
	o.factory.Start(ctx.Done())
	<-ctx.Done()
	o.factory.Shutdown()
	o.configMaps.close()
	o.secrets.close()
}

// Register watches what pod refers to; what it no longer refers to is let go.
func (o *Objects) Register(pod *corev1.Pod) {
	now := referencesOf(pod)
	o.mu.Lock()
	defer o.mu.Unlock()
	before := o.pods[pod.UID]
	o.pods[pod.UID] = now
	for _, r := range now {
		o.storeOf(r).acquire(r.name)
	}
	o.releaseLocked(before)
}

// Unregister lets go of what that pod refers to; an unknown one is not an error.
func (o *Objects) Unregister(uid types.UID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	before := o.pods[uid]
	delete(o.pods, uid)
	o.releaseLocked(before)
}

func (o *Objects) releaseLocked(references []reference) {
	for _, r := range references {
		o.storeOf(r).release(r.name)
	}
}

// ConfigMap returns a config map; apierrors.IsNotFound when there is none.
func (o *Objects) ConfigMap(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error) {
	obj, err := o.configMaps.get(ctx, types.NamespacedName{Namespace: namespace, Name: name})
	if err != nil {
		return nil, fmt.Errorf("read config map %s/%s: %w", namespace, name, err)
	}
	return cast[*corev1.ConfigMap](obj)
}

// Secret returns a secret; apierrors.IsNotFound when there is none.
func (o *Objects) Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	obj, err := o.secrets.get(ctx, types.NamespacedName{Namespace: namespace, Name: name})
	if err != nil {
		return nil, fmt.Errorf("read secret %s/%s: %w", namespace, name, err)
	}
	return cast[*corev1.Secret](obj)
}

// PersistentVolumeClaim asks the API server for a claim; apierrors.IsNotFound when there is none.
func (o *Objects) PersistentVolumeClaim(ctx context.Context, namespace, name string) (*corev1.PersistentVolumeClaim, error) {
	claim, err := o.client.CoreV1().PersistentVolumeClaims(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read claim %s/%s: %w", namespace, name, err)
	}
	return claim, nil
}

// PersistentVolume asks the API server for a volume; apierrors.IsNotFound when there is none.
func (o *Objects) PersistentVolume(ctx context.Context, name string) (*corev1.PersistentVolume, error) {
	volume, err := o.client.CoreV1().PersistentVolumes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read persistent volume %s: %w", name, err)
	}
	return volume, nil
}

// Services returns the services of a namespace, and an error before they are known.
func (o *Objects) Services(namespace string) ([]*corev1.Service, error) {
	if !o.synced() {
		return nil, apierrors.NewServiceUnavailable("services are not known yet")
	}
	services, err := o.services.Services(namespace).List(labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("list services of %s: %w", namespace, err)
	}
	return services, nil
}

func (o *Objects) storeOf(r reference) *store {
	if r.secret {
		return o.secrets
	}
	return o.configMaps
}

func cast[T runtime.Object](obj runtime.Object) (T, error) {
	t, ok := obj.(T)
	if !ok {
		return t, fmt.Errorf("unexpected %T", obj)
	}
	return t, nil
}

func configMapSource(client kubernetes.Interface) source {
	return source{
		informer: func(name types.NamespacedName) cache.SharedIndexInformer {
			return corev1informers.NewFilteredConfigMapInformer(client, name.Namespace, 0, cache.Indexers{}, only(name.Name))
		},
		get: func(ctx context.Context, name types.NamespacedName) (runtime.Object, error) {
			return client.CoreV1().ConfigMaps(name.Namespace).Get(ctx, name.Name, metav1.GetOptions{})
		},
		immutable: func(obj runtime.Object) bool {
			c, ok := obj.(*corev1.ConfigMap)
			return ok && c.Immutable != nil && *c.Immutable
		},
	}
}

func secretSource(client kubernetes.Interface) source {
	return source{
		informer: func(name types.NamespacedName) cache.SharedIndexInformer {
			return corev1informers.NewFilteredSecretInformer(client, name.Namespace, 0, cache.Indexers{}, only(name.Name))
		},
		get: func(ctx context.Context, name types.NamespacedName) (runtime.Object, error) {
			return client.CoreV1().Secrets(name.Namespace).Get(ctx, name.Name, metav1.GetOptions{})
		},
		immutable: func(obj runtime.Object) bool {
			s, ok := obj.(*corev1.Secret)
			return ok && s.Immutable != nil && *s.Immutable
		},
	}
}
