package provider

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes/fake"
	corev1listers "k8s.io/client-go/listers/core/v1"
	clienttesting "k8s.io/client-go/testing"
	clientcache "k8s.io/client-go/tools/cache"

	"github.com/virtual-kubelet/vic/cache"
)

// published is a publisher whose notifications are kept.
type published struct {
	*publisher
	client *fake.Clientset
	cache  *cache.Pods

	mu   sync.Mutex    // guards seen
	seen []*corev1.Pod // handed to Virtual Kubelet
}

func newPublished(t *testing.T, current ...*corev1.Pod) *published {
	t.Helper()
	indexer := clientcache.NewIndexer(clientcache.MetaNamespaceKeyFunc,
		clientcache.Indexers{clientcache.NamespaceIndex: clientcache.MetaNamespaceIndexFunc})
	objects := make([]runtime.Object, 0, len(current))
	for _, pod := range current {
		require.NoError(t, indexer.Add(pod))
		objects = append(objects, pod.DeepCopy())
	}
	p := &published{client: fake.NewClientset(objects...), cache: cache.New()}
	provider := NewProvider(&calls{}, p.cache, corev1listers.NewPodLister(indexer))
	p.publisher = newPublisher(provider, p.client.CoreV1())
	provider.NotifyPods(t.Context(), func(pod *corev1.Pod) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.seen = append(p.seen, pod)
	})
	return p
}

func (p *published) verbs() []string {
	var verbs []string
	for _, a := range p.client.Actions() {
		verbs = append(verbs, a.GetVerb())
	}
	return verbs
}

// writes is how many of those that were handed over have a status other than the one before: Virtual Kubelet writes no others.
func (p *published) writes() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(slices.CompactFunc(slices.Clone(p.seen), func(a, b *corev1.Pod) bool { return a.Status.Message == b.Status.Message }))
}

func ending(p *corev1.Pod) {
	now, grace := metav1.Now(), int64(30)
	p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &now, &grace
}

func TestPublish(t *testing.T) {
	running := corev1.PodStatus{Phase: corev1.PodRunning}

	t.Run("the API server's metadata goes with the observed status", func(t *testing.T) {
		p := newPublished(t, podOf("1", func(p *corev1.Pod) { p.Labels = map[string]string{"new": "label"} }))
		p.cache.SetPod(podOf("1"))
		p.cache.SetStatus("1", running)
		require.NoError(t, p.publish(t.Context(), "1"))
		require.Len(t, p.seen, 1)
		assert.Equal(t, map[string]string{"new": "label"}, p.seen[0].Labels)
		assert.Equal(t, running, p.seen[0].Status)
		assert.Empty(t, p.verbs())
	})
	t.Run("a former pod's status does not reach its successor", func(t *testing.T) {
		p := newPublished(t, podOf("2"))
		p.cache.SetPod(podOf("1"))
		p.cache.SetStatus("1", running)
		require.NoError(t, p.publish(t.Context(), "1"))
		assert.Empty(t, p.seen)
		assert.Empty(t, p.verbs())
	})
	t.Run("an unknown pod is nothing", func(t *testing.T) {
		p := newPublished(t)
		require.NoError(t, p.publish(t.Context(), "1"))
		assert.Empty(t, p.seen)
	})
	t.Run("a pod that is ending stays while it runs", func(t *testing.T) {
		p := newPublished(t, podOf("1", ending))
		p.cache.SetPod(podOf("1", ending))
		p.cache.SetStatus("1", running)
		require.NoError(t, p.publish(t.Context(), "1"))
		assert.Len(t, p.seen, 1)
		assert.Empty(t, p.verbs())
	})
	t.Run("a pod that has ended is written a last time and then deleted", func(t *testing.T) {
		p := newPublished(t, podOf("1", ending))
		p.cache.SetPod(podOf("1", ending))
		p.cache.Finish("1")
		p.cache.SetStatus("1", corev1.PodStatus{Phase: corev1.PodFailed})
		require.NoError(t, p.publish(t.Context(), "1"))
		assert.Equal(t, []string{"patch", "delete"}, p.verbs())
		deletion, ok := p.client.Actions()[1].(clienttesting.DeleteActionImpl)
		require.True(t, ok)
		assert.Equal(t, int64(0), *deletion.DeleteOptions.GracePeriodSeconds)
		assert.Equal(t, types.UID("1"), *deletion.DeleteOptions.Preconditions.UID)
	})
	t.Run("a pod that is gone already is deleted", func(t *testing.T) {
		p := newPublished(t, podOf("1", ending))
		require.NoError(t, p.client.Tracker().Delete(corev1.SchemeGroupVersion.WithResource("pods"), "n", "p"))
		p.cache.SetPod(podOf("1", ending))
		p.cache.Finish("1")
		require.NoError(t, p.publish(t.Context(), "1"))
	})
	t.Run("a deletion that fails is returned", func(t *testing.T) {
		p := newPublished(t, podOf("1", ending))
		boom := errors.New("boom")
		p.client.PrependReactor("delete", "pods", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, boom })
		p.cache.SetPod(podOf("1", ending))
		p.cache.Finish("1")
		require.ErrorIs(t, p.publish(t.Context(), "1"), boom)
	})
}

func TestAPodThatChangesAllTheTimeIsWrittenOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPublished(t, podOf("1"))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { // ends with ctx
			defer close(done)
			p.run(ctx)
		}()
		synctest.Wait()
		p.cache.SetPod(podOf("1"))
		const seconds = 20
		for i := range 11 * seconds {
			p.cache.SetStatus("1", corev1.PodStatus{Phase: corev1.PodRunning, Message: strconv.Itoa(i)})
			p.changed("1") // the API server's own object changes with each write
			<-time.After(time.Second / 11)
			if synctest.Wait(); i == 3 {
				assert.Equal(t, 4, p.writes(), "a few changes are written at once")
			}
		}
		t.Logf("%d changes were written %d times", 11*seconds, p.writes())
		assert.LessOrEqual(t, p.writes(), statusBurst+seconds)
		p.cache.SetStatus("1", corev1.PodStatus{Phase: corev1.PodRunning, Message: "newest"})
		<-time.After(time.Second)
		synctest.Wait()
		assert.Equal(t, "newest", p.seen[len(p.seen)-1].Status.Message)
		p.cache.SetStatus("1", corev1.PodStatus{Phase: corev1.PodRunning, Message: "at the end"})
		p.flush()
		synctest.Wait()
		assert.True(t, p.flushed(), "a flush waits for nothing")
		assert.Equal(t, "at the end", p.seen[len(p.seen)-1].Status.Message)
		cancel()
		<-done
	})
}

func TestPublisherRunsUntilItsContextEnds(t *testing.T) {
	p := newPublished(t, podOf("1"))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { // ends with ctx
		defer close(done)
		p.run(ctx)
	}()
	p.cache.SetPod(podOf("1"))
	require.Eventually(t, func() bool {
		p.cache.SetStatus("1", corev1.PodStatus{Phase: corev1.PodPending})
		p.cache.SetStatus("1", corev1.PodStatus{Phase: corev1.PodRunning})
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.seen) > 0
	}, timeout, poll)
	p.cache.SetStatus("1", corev1.PodStatus{Phase: corev1.PodSucceeded})
	p.flush()
	require.Eventually(t, p.flushed, timeout, poll)
	p.mu.Lock()
	assert.Equal(t, corev1.PodSucceeded, p.seen[len(p.seen)-1].Status.Phase, "what was known before a flush is out after it")
	p.mu.Unlock()
	cancel()
	<-done
}

func TestPodClient(t *testing.T) {
	uid, other := types.UID("1"), types.UID("2")
	deleteTests := map[string]struct {
		preconditions *metav1.Preconditions
		want          []string
	}{
		"a pod that has ended is deleted":                {&metav1.Preconditions{UID: &uid}, []string{"delete"}},
		"a pod that runs is left to its end":             {&metav1.Preconditions{UID: &other}, nil},
		"a deletion by name alone may be of another pod": {nil, nil},
	}
	for name, tt := range deleteTests {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset(podOf("1"))
			pods := podsClient{PodsGetter: client.CoreV1(), finished: func(u types.UID) bool { return u == "1" }}.Pods("n")
			require.NoError(t, pods.Delete(t.Context(), "p", metav1.DeleteOptions{Preconditions: tt.preconditions}))
			var verbs []string
			for _, a := range client.Actions() {
				verbs = append(verbs, a.GetVerb())
			}
			assert.Equal(t, tt.want, verbs)
		})
	}
	t.Run("a status of a former pod is as good as written", func(t *testing.T) {
		client := fake.NewClientset()
		client.PrependReactor("patch", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewConflict(corev1.Resource("pods"), "p", errors.New("UID"))
		})
		pods := podsClient{PodsGetter: client.CoreV1()}.Pods("n")
		_, err := pods.UpdateStatus(t.Context(), podOf("1"), metav1.UpdateOptions{})
		assert.True(t, apierrors.IsNotFound(err))
	})
}

func TestStatusPatch(t *testing.T) {
	patch, err := statusPatch(podOf("1", func(p *corev1.Pod) {
		p.Status = corev1.PodStatus{
			Phase:  corev1.PodRunning,
			PodIPs: []corev1.PodIP{{IP: "10.0.0.1"}},
		}
	}))
	require.NoError(t, err)
	var got struct {
		Metadata map[string]any `json:"metadata"`
		Status   map[string]any `json:"status"`
	}
	require.NoError(t, json.Unmarshal(patch, &got))
	assert.Equal(t, map[string]any{"uid": "1"}, got.Metadata, "nothing but the precondition")
	assert.Equal(t, "Running", got.Status["phase"])
	assert.Equal(t, []any{map[string]any{"ip": "10.0.0.1"}, map[string]any{"$patch": "replace"}}, got.Status["podIPs"])
	for _, cleared := range []string{"reason", "message", "containerStatuses"} {
		assert.Contains(t, got.Status, cleared)
		assert.Nil(t, got.Status[cleared])
	}
	assert.NotContains(t, got.Status, "conditions", "those of others stay")
	assert.NotContains(t, got.Status, "qosClass", "it can't be cleared")
}

func TestStatusPatchClearsWhatAConditionSaidBefore(t *testing.T) {
	patch, err := statusPatch(podOf("1", func(p *corev1.Pod) {
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	}))
	require.NoError(t, err)
	merged, err := strategicpatch.StrategicMergePatch([]byte(
		`{"status":{"conditions":[{"type":"Ready","status":"False","reason":"ContainersNotReady","message":"why"},{"type":"example.com/lb","reason":"theirs"}]}}`,
	), patch, corev1.Pod{})
	require.NoError(t, err)
	var got corev1.Pod
	require.NoError(t, json.Unmarshal(merged, &got))
	assert.ElementsMatch(t, []corev1.PodCondition{
		{Type: corev1.PodReady, Status: corev1.ConditionTrue}, {Type: "example.com/lb", Reason: "theirs"},
	}, got.Status.Conditions)
}
