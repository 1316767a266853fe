package provider_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/virtual-kubelet/virtual-kubelet/errdefs"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1listers "k8s.io/client-go/listers/core/v1"
	clientcache "k8s.io/client-go/tools/cache"

	"github.com/virtual-kubelet/vic/cache"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/provider"
)

// recordingManager remembers its calls.
type recordingManager struct {
	mu     sync.Mutex // guards all below
	synced []*corev1.Pod
	forgot []types.UID
}

func (m *recordingManager) Sync(pod *corev1.Pod) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.synced = append(m.synced, pod)
}

func (m *recordingManager) Forget(uid types.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forgot = append(m.forgot, uid)
}

func (*recordingManager) Resync([]*corev1.Pod) {}

func newPod(name string, uid types.UID) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: uid},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}},
	}
}

func listerOf(t *testing.T, pods ...*corev1.Pod) corev1listers.PodLister {
	t.Helper()
	indexer := clientcache.NewIndexer(clientcache.MetaNamespaceKeyFunc,
		clientcache.Indexers{clientcache.NamespaceIndex: clientcache.MetaNamespaceIndexFunc})
	for _, pod := range pods {
		require.NoError(t, indexer.Add(pod))
	}
	return corev1listers.NewPodLister(indexer)
}

func TestCallsOfVirtualKubeletOnlyWakeOperations(t *testing.T) {
	current := newPod("a", "1")
	current.Labels = map[string]string{"now": "yes"}
	tests := map[string]struct {
		asked *corev1.Pod
		want  []*corev1.Pod
	}{
		"an old copy becomes what the API server has":     {newPod("a", "1"), []*corev1.Pod{current}},
		"a former pod of the same name is left alone":     {newPod("a", "0"), nil},
		"a pod that the API server has not is left alone": {newPod("b", "2"), nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			manager := &recordingManager{}
			p := provider.NewProvider(manager, cache.New(), listerOf(t, current))
			require.NoError(t, p.CreatePod(t.Context(), tt.asked))
			assert.Equal(t, tt.want, manager.synced)
			manager.synced = nil
			require.NoError(t, p.UpdatePod(t.Context(), tt.asked))
			assert.Equal(t, tt.want, manager.synced)
			manager.synced = nil
			require.NoError(t, p.DeletePod(t.Context(), tt.asked))
			assert.Equal(t, tt.want, manager.synced)
			assert.Empty(t, manager.forgot)
		})
	}
}

func TestGetPod(t *testing.T) {
	pods := cache.New()
	pods.SetPod(newPod("known", "1"))
	pods.SetStatus("1", corev1.PodStatus{Phase: corev1.PodRunning})
	ending := newPod("replaced", "2")
	now := metav1.Now()
	ending.DeletionTimestamp = &now
	pods.SetPod(ending)
	pods.Restore("3", types.NamespacedName{Namespace: "default", Name: "restored"})
	p := provider.NewProvider(&recordingManager{}, pods, listerOf(t, newPod("known", "1"), newPod("replaced", "22")))

	t.Run("a known pod is returned with its status", func(t *testing.T) {
		pod, err := p.GetPod(t.Context(), "default", "known")
		require.NoError(t, err)
		assert.Equal(t, types.UID("1"), pod.UID)
		st, err := p.GetPodStatus(t.Context(), "default", "known")
		require.NoError(t, err)
		assert.Equal(t, corev1.PodRunning, st.Phase)
	})
	for name, pod := range map[string]string{
		"an unknown pod is not found":                            "unknown",
		"a pod that is ending never stands for its successor":    "replaced",
		"a pod of which only the VM is known has nothing to say": "restored",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := p.GetPod(t.Context(), "default", pod)
			assert.True(t, errdefs.IsNotFound(err), "Virtual Kubelet sees it")
			require.ErrorIs(t, err, portlayer.ErrNotFound)
			_, err = p.GetPodStatus(t.Context(), "default", pod)
			assert.True(t, errdefs.IsNotFound(err))
		})
	}
	t.Run("pods are listed without the restored", func(t *testing.T) {
		all, err := p.GetPods(t.Context())
		require.NoError(t, err)
		assert.Len(t, all, 2)
	})
}
