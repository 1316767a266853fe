package cache_test

import (
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/virtual-kubelet/vic/cache"
)

var birth = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// pod returns one named ns/web that was created the given seconds after birth.
func pod(uid types.UID, seconds int) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		UID: uid, Namespace: "ns", Name: "web",
		CreationTimestamp: metav1.NewTime(birth.Add(time.Duration(seconds) * time.Second)),
	}}
}

func terminating(p *corev1.Pod) *corev1.Pod {
	at := metav1.NewTime(birth.Add(time.Hour))
	p.DeletionTimestamp = &at
	return p
}

func TestLookupFindsByName(t *testing.T) {
	tests := map[string]struct {
		do   func(*cache.Pods)
		want types.UID
	}{
		"nothing where no pod is": {func(*cache.Pods) {}, ""},
		"the only pod, also while it is being deleted": {func(p *cache.Pods) {
			p.SetPod(terminating(pod("a", 0)))
		}, "a"},
		"the newer of two": {func(p *cache.Pods) {
			p.SetPod(pod("b", 1))
			p.SetPod(pod("a", 0))
		}, "b"},
		"the pod that is not being deleted, whichever came last": {func(p *cache.Pods) {
			p.SetPod(pod("b", 1))
			p.SetPod(terminating(pod("a", 2)))
		}, "b"},
		"the newer pod also after the older one is updated": {func(p *cache.Pods) {
			p.SetPod(terminating(pod("a", 0)))
			p.SetPod(pod("b", 1))
			p.SetPod(terminating(pod("a", 0)))
		}, "b"},
		"never an older pod after the newer one is gone": {func(p *cache.Pods) {
			p.SetPod(terminating(pod("a", 0)))
			p.SetPod(pod("b", 1))
			p.Remove("b")
		}, ""},
		"no pod whose object is gone": {func(p *cache.Pods) {
			p.SetPod(pod("a", 0))
			p.ReleaseName("a")
		}, ""},
		"no pod whose object is gone, also after a late update": {func(p *cache.Pods) {
			p.SetPod(terminating(pod("a", 0)))
			p.ReleaseName("a")
			p.SetPod(terminating(pod("a", 0)))
		}, ""},
		"a pod of which only the VM is known": {func(p *cache.Pods) {
			p.Restore("a", types.NamespacedName{Namespace: "ns", Name: "web"})
		}, "a"},
		"a desired pod before one of which only the VM is known": {func(p *cache.Pods) {
			p.Restore("a", types.NamespacedName{Namespace: "ns", Name: "web"})
			p.SetPod(pod("b", 0))
		}, "b"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			pods := cache.New()
			tt.do(pods)
			e, ok := pods.Lookup("ns", "web")
			require.Equal(t, tt.want != "", ok)
			if ok {
				require.Equal(t, tt.want, e.Pod.UID)
			}
		})
	}
}

func TestSetPodKeepsTheObservedStatus(t *testing.T) {
	pods := cache.New()
	first := pod("a", 0)
	first.Status.Phase = corev1.PodRunning
	pods.SetPod(first)
	require.True(t, pods.SetStatus("a", corev1.PodStatus{Phase: corev1.PodFailed}))

	again := pod("a", 0)
	again.Status.Phase = corev1.PodRunning
	again.Labels = map[string]string{"v": "2"}
	pods.SetPod(again)

	e, ok := pods.Get("a")
	require.True(t, ok)
	assert.Equal(t, corev1.PodFailed, e.Pod.Status.Phase)
	assert.Equal(t, "2", e.Pod.Labels["v"])
}

func TestRestoredEntryTakesSpecAndStatusOfThePod(t *testing.T) {
	pods := cache.New()
	pods.Restore("a", types.NamespacedName{Namespace: "ns", Name: "web"})
	e, ok := pods.Get("a")
	require.True(t, ok)
	require.True(t, e.Restored)

	p := pod("a", 0)
	p.Status.Phase = corev1.PodRunning
	pods.SetPod(p)
	pods.Restore("a", types.NamespacedName{Namespace: "ns", Name: "web"})
	e, _ = pods.Get("a")
	assert.False(t, e.Restored)
	assert.Equal(t, corev1.PodRunning, e.Pod.Status.Phase)
}

func TestSubscribersHearOfEachChangeOnce(t *testing.T) {
	pods := cache.New()
	pods.SetPod(pod("a", 0))
	var heard []corev1.PodPhase
	stop := pods.Subscribe(func(e cache.Entry) { heard = append(heard, e.Pod.Status.Phase) })

	assert.True(t, pods.SetStatus("a", corev1.PodStatus{Phase: corev1.PodPending}))
	assert.False(t, pods.SetStatus("a", corev1.PodStatus{Phase: corev1.PodPending}))
	assert.False(t, pods.SetStatus("nobody", corev1.PodStatus{Phase: corev1.PodPending}))
	assert.True(t, pods.SetStatus("a", corev1.PodStatus{Phase: corev1.PodRunning}))
	stop()
	assert.True(t, pods.SetStatus("a", corev1.PodStatus{Phase: corev1.PodFailed}))

	assert.Equal(t, []corev1.PodPhase{corev1.PodPending, corev1.PodRunning}, heard)
}

func TestFinishIsReportedOnceAndStays(t *testing.T) {
	pods := cache.New()
	pods.SetPod(pod("a", 0))
	var heard int
	defer pods.Subscribe(func(e cache.Entry) {
		assert.True(t, e.Finished)
		heard++
	})()

	pods.Finish("a")
	pods.Finish("a")
	pods.Finish("nobody")
	pods.SetPod(terminating(pod("a", 0)))

	e, _ := pods.Get("a")
	assert.True(t, e.Finished)
	assert.Equal(t, 1, heard)
}

func TestCacheSharesNothing(t *testing.T) {
	pods := cache.New()
	mine := pod("a", 0)
	mine.Labels = map[string]string{"k": "v"}
	pods.SetPod(mine)
	mine.Labels["k"] = "changed"
	got, _ := pods.Get("a")
	require.Equal(t, "v", got.Pod.Labels["k"])
	got.Pod.Labels["k"] = "changed"
	again, _ := pods.Lookup("ns", "web")
	require.Equal(t, "v", again.Pod.Labels["k"])
	all := pods.List()
	require.Len(t, all, 1)
	all[0].Pod.Labels["k"] = "changed"
	again, _ = pods.Get("a")
	require.Equal(t, "v", again.Pod.Labels["k"])
}

func TestCacheIsSafeForConcurrentUse(t *testing.T) {
	pods := cache.New()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			uid := types.UID(fmt.Sprint("pod-", i%4))
			for n := range 50 {
				pods.SetPod(pod(uid, i))
				stop := pods.Subscribe(func(cache.Entry) {})
				pods.SetStatus(uid, corev1.PodStatus{Message: strconv.Itoa(n)})
				pods.Lookup("ns", "web")
				pods.List()
				stop()
				pods.Remove(uid)
			}
		})
	}
	wg.Wait()
	require.Empty(t, pods.List())
}

// Of two VMs of one name, one is left over from a pod that was deleted while vic was away; either may be found first.
func TestARestoredPodHasItsNameOnceItsObjectIsKnown(t *testing.T) {
	name := types.NamespacedName{Namespace: "default", Name: "a"}
	for _, order := range [][]types.UID{{"old", "new"}, {"new", "old"}} {
		pods := cache.New()
		for _, uid := range order {
			pods.Restore(uid, name)
		}
		pods.SetPod(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			UID: "new", Namespace: name.Namespace, Name: name.Name, CreationTimestamp: metav1.Now(),
		}})
		e, ok := pods.Lookup(name.Namespace, name.Name)
		require.True(t, ok, order)
		assert.Equal(t, types.UID("new"), e.Pod.UID, order)
		pods.ReleaseName("old")
		e, ok = pods.Lookup(name.Namespace, name.Name)
		require.True(t, ok, order)
		assert.Equal(t, types.UID("new"), e.Pod.UID, order)
	}
}

func TestAReleasedNameDoesNotComeBack(t *testing.T) {
	pods := cache.New()
	pods.Restore("a", types.NamespacedName{Namespace: "default", Name: "a"})
	pods.ReleaseName("a")
	pods.SetPod(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "a", Namespace: "default", Name: "a"}})
	_, ok := pods.Lookup("default", "a")
	assert.False(t, ok)
}
