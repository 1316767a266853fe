package provider

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	clientcache "k8s.io/client-go/tools/cache"
)

// References learns which pods are on the node, so that what they refer to is watched.
type References interface {
	Register(pod *corev1.Pod)
	Unregister(uid types.UID)
}

var _ clientcache.ResourceEventHandler = (*podWatch)(nil)

// podWatch hands what the API server says of this node's pods to operations, by UID.
type podWatch struct {
	manager    Manager
	references References
	changed    func(types.UID) // a pod's status may have to be written
}

// OnAdd hands on a new pod.
func (w *podWatch) OnAdd(obj any, _ bool) {
	if pod, ok := obj.(*corev1.Pod); ok {
		w.sync(pod)
	}
}

// OnUpdate hands on a changed pod. One that was deleted and came back while the watch was interrupted looks like a
// change, and is another pod.
func (w *podWatch) OnUpdate(before, after any) {
	old, ok := before.(*corev1.Pod)
	if !ok {
		return
	}
	pod, ok := after.(*corev1.Pod)
	if !ok {
		return
	}
	if old.UID != pod.UID {
		w.forget(old.UID)
	} else if onlyStatusChanged(old, pod) {
		w.changed(pod.UID)
		return
	}
	w.sync(pod)
}

// OnDelete hands on that a pod's object is gone.
func (w *podWatch) OnDelete(obj any) {
	if lost, ok := obj.(clientcache.DeletedFinalStateUnknown); ok {
		obj = lost.Obj
	}
	if pod, ok := obj.(*corev1.Pod); ok {
		w.forget(pod.UID)
	}
}

func (w *podWatch) sync(pod *corev1.Pod) {
	w.references.Register(pod)
	w.manager.Sync(pod.DeepCopy())
	w.changed(pod.UID)
}

func (w *podWatch) forget(uid types.UID) {
	w.manager.Forget(uid)
	w.references.Unregister(uid)
}

// onlyStatusChanged is true for what comes of our own writing, which is most of all changes. A phase is compared all the
// same: others may set it (an eviction), and the pod must then not be started.
func onlyStatusChanged(old, pod *corev1.Pod) bool {
	return old.Generation == pod.Generation &&
		old.Status.Phase == pod.Status.Phase &&
		old.DeletionTimestamp.Equal(pod.DeletionTimestamp) &&
		equality.Semantic.DeepEqual(old.DeletionGracePeriodSeconds, pod.DeletionGracePeriodSeconds) &&
		equality.Semantic.DeepEqual(old.Labels, pod.Labels) &&
		equality.Semantic.DeepEqual(old.Annotations, pod.Annotations) &&
		equality.Semantic.DeepEqual(old.Spec, pod.Spec)
}
