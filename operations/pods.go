package operations

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/virtual-kubelet/vic/operations/worker"
)

// startPending runs the workers that were made since the last call.
func (m *Manager) startPending(ctx context.Context) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range m.pending {
		// Ends with the pod or with ctx; Run waits for it.
		m.running.Go(func() {
			w.Run(ctx)
			m.retire(w)
		})
	}
	m.pending = nil
}

// retire forgets a worker that has nothing left to do. One that the node's shutdown has ended stays, so that there is no
// other.
func (m *Manager) retire(w *worker.Worker) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.workers[w.UID()] == w && !m.ended && !m.shutdown {
		delete(m.workers, w.UID())
	}
}

func (m *Manager) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = true
}

// Sync brings pod about as it is now: new, changed or being deleted. It returns at once.
func (m *Manager) Sync(pod *corev1.Pod) {
	if pod.Spec.NodeName != m.cfg.NodeName {
		return
	}
	pod = pod.DeepCopy()
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, gone := m.tombstones[pod.UID]; gone {
		return
	}
	delete(m.orphans.known, pod.UID)
	if e, ok := m.cfg.Cache.Get(pod.UID); ok && e.Restored && !isFinal(pod.Status.Phase) {
		m.admission.Adopt(pod) // before any other pod is admitted beside it
	}
	m.cfg.Cache.SetPod(pod)
	m.changeLocked(pod.UID, func(w *worker.Worker) { w.Want(pod) })
}

// Forget removes the VM of a pod whose API object is gone, and everything that is kept of it. It returns at once.
func (m *Manager) Forget(uid types.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forgetLocked(uid)
}

func (m *Manager) forgetLocked(uid types.UID) {
	m.tombstones[uid] = time.Now()
	delete(m.orphans.known, uid)
	m.cfg.Cache.ReleaseName(uid)
	m.changeLocked(uid, (*worker.Worker).Forget)
}

// Resync takes all pods of this node that there are. From now on a VM without one of them is an orphan.
func (m *Manager) Resync(known []*corev1.Pod) {
	for _, pod := range known {
		m.Sync(pod)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.listed = true
}

// changeLocked changes what is wanted of a pod, whose worker is made if there is none.
func (m *Manager) changeLocked(uid types.UID, change func(*worker.Worker)) {
	w, ok := m.workers[uid]
	if !ok {
		if m.shutdown {
			return
		}
		w = worker.New(m.shared, m.identity(uid))
		m.workers[uid] = w
	}
	change(w)
	if ok {
		return
	}
	m.pending = append(m.pending, w)
	select {
	case m.news <- struct{}{}:
	default:
	}
}

// volumesReleased has workers try again that wait for a volume.
func (m *Manager) volumesReleased() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range m.workers {
		w.VolumesReleased()
	}
}

// identity is what is known of a pod without its object.
func (m *Manager) identity(uid types.UID) *corev1.Pod {
	if e, ok := m.cfg.Cache.Get(uid); ok {
		return e.Pod
	}
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: uid}}
}

func (m *Manager) wake(uid types.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if w, ok := m.workers[uid]; ok {
		w.Wake()
	}
}

func isFinal(p corev1.PodPhase) bool { return p == corev1.PodSucceeded || p == corev1.PodFailed }
