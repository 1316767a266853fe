package provider

import (
	"testing"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clientcache "k8s.io/client-go/tools/cache"
)

// calls remembers every call in order.
type calls struct{ made []string }

func (r *calls) Sync(p *corev1.Pod)       { r.made = append(r.made, "sync "+string(p.UID)) }
func (r *calls) Forget(uid types.UID)     { r.made = append(r.made, "forget "+string(uid)) }
func (r *calls) Register(p *corev1.Pod)   { r.made = append(r.made, "register "+string(p.UID)) }
func (r *calls) Unregister(uid types.UID) { r.made = append(r.made, "unregister "+string(uid)) }
func (r *calls) changed(uid types.UID)    { r.made = append(r.made, "changed "+string(uid)) }
func (*calls) Resync([]*corev1.Pod)       {}
func (r *calls) watch() clientcache.ResourceEventHandler {
	return &podWatch{manager: r, references: r, changed: r.changed}
}

func podOf(uid types.UID, change ...func(*corev1.Pod)) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p", UID: uid, Generation: 1}}
	for _, c := range change {
		c(pod)
	}
	return pod
}

func TestPodWatch(t *testing.T) {
	seen := []string{"register 1", "sync 1", "changed 1"}
	tests := map[string]struct {
		do   func(h clientcache.ResourceEventHandler)
		want []string
	}{
		"a new pod is referred to before it is started": {
			func(h clientcache.ResourceEventHandler) { h.OnAdd(podOf("1"), true) }, seen,
		},
		"a status that was written wakes nobody": {
			func(h clientcache.ResourceEventHandler) {
				h.OnUpdate(podOf("1"), podOf("1", func(p *corev1.Pod) { p.ResourceVersion, p.Status.PodIP = "2", "10.0.0.1" }))
			}, []string{"changed 1"},
		},
		"a phase that someone set is passed on": {
			func(h clientcache.ResourceEventHandler) {
				h.OnUpdate(podOf("1"), podOf("1", func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }))
			}, seen,
		},
		"a label is passed on, as files may show it": {
			func(h clientcache.ResourceEventHandler) {
				h.OnUpdate(podOf("1"), podOf("1", func(p *corev1.Pod) { p.Labels = map[string]string{"a": "b"} }))
			}, seen,
		},
		"a deletion is passed on": {
			func(h clientcache.ResourceEventHandler) {
				now := metav1.Now()
				h.OnUpdate(podOf("1"), podOf("1", func(p *corev1.Pod) { p.DeletionTimestamp = &now }))
			}, seen,
		},
		"a shorter grace period is passed on": {
			func(h clientcache.ResourceEventHandler) {
				grace := int64(1)
				h.OnUpdate(podOf("1"), podOf("1", func(p *corev1.Pod) { p.DeletionGracePeriodSeconds = &grace }))
			}, seen,
		},
		"a pod that came back unseen is another pod": {
			func(h clientcache.ResourceEventHandler) { h.OnUpdate(podOf("0"), podOf("1")) },
			append([]string{"forget 0", "unregister 0"}, seen...),
		},
		"a pod whose object is gone is forgotten": {
			func(h clientcache.ResourceEventHandler) { h.OnDelete(podOf("1")) }, []string{"forget 1", "unregister 1"},
		},
		"a deletion that was not seen is one": {
			func(h clientcache.ResourceEventHandler) {
				h.OnDelete(clientcache.DeletedFinalStateUnknown{Key: "n/p", Obj: podOf("1")})
			}, []string{"forget 1", "unregister 1"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := &calls{}
			tt.do(r.watch())
			assert.Equal(t, tt.want, r.made)
		})
	}
}
