package provider

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/virtual-kubelet/vic/internal/logging"
)

// podsClient is the client that Virtual Kubelet writes with: see the package's documentation for what it does otherwise.
type podsClient struct {
	corev1client.PodsGetter
	finished func(types.UID) bool
}

// Pods returns the client of one namespace.
func (c podsClient) Pods(namespace string) corev1client.PodInterface {
	return podClient{PodInterface: c.PodsGetter.Pods(namespace), finished: c.finished}
}

type podClient struct {
	corev1client.PodInterface
	finished func(types.UID) bool
}

// UpdateStatus patches the status. A pod that is gone, or is another one by now, is answered as not found, which Virtual
// Kubelet takes as done.
func (c podClient) UpdateStatus(ctx context.Context, pod *corev1.Pod, _ metav1.UpdateOptions) (*corev1.Pod, error) {
	return writeStatus(ctx, c.PodInterface, pod)
}

// Delete deletes the pod where nothing of it runs, and else leaves that to the publisher. Without a UID it does nothing:
// Virtual Kubelet asks for that when it takes a new pod for a former one.
func (c podClient) Delete(ctx context.Context, name string, opts metav1.DeleteOptions) error {
	if opts.Preconditions == nil || opts.Preconditions.UID == nil || !c.finished(*opts.Preconditions.UID) {
		return nil
	}
	return c.PodInterface.Delete(ctx, name, opts)
}

// ours are the fields of a pod's status that only the node writes: absent ones are cleared.
var ours = []string{
	"phase", "reason", "message", "hostIP", "podIP", "startTime",
	"initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses",
}

// replaced are lists that a strategic merge would otherwise only add to.
var replaced = []string{"hostIPs", "podIPs"}

// ofContainers are the fields of a pod's status that say how its containers are.
var ofContainers = []string{"initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"}

// writeStatus writes pod's status. Where the API server will never take it as it is, it writes what can be written: all but
// the texts, else nothing about containers. The error is that of the last try; not found where there is no such pod, or another
// one of that name.
func writeStatus(ctx context.Context, pods corev1client.PodInterface, pod *corev1.Pod) (*corev1.Pod, error) {
	updated, err := patchStatus(ctx, pods, pod)
	if isGone(ctx, pods, pod, err) {
		return nil, apierrors.NewNotFound(corev1.Resource("pods"), pod.Name)
	}
	for _, leave := range [][]string{nil, ofContainers} {
		if !statusRefused(err) {
			break
		}
		logging.From(ctx).WarnContext(ctx, "pod status was refused", "pod", pod.Namespace+"/"+pod.Name, "vm", pod.UID, "err", err)
		updated, err = patchStatus(ctx, pods, withoutTexts(pod), leave...)
	}
	return updated, err
}

// isGone says whether err is the answer to a change of a pod that is no more. The API server answers alike where another pod has
// the name and where two writes of one pod met, so it looks.
func isGone(ctx context.Context, pods corev1client.PodInterface, pod *corev1.Pod, err error) bool {
	if apierrors.IsConflict(err) || apierrors.IsInvalid(err) {
		current, getErr := pods.Get(ctx, pod.Name, metav1.GetOptions{})
		return apierrors.IsNotFound(getErr) || getErr == nil && current.UID != pod.UID
	}
	return apierrors.IsNotFound(err)
}

// statusRefused says that the API server will answer the same however often it is asked.
func statusRefused(err error) bool {
	return apierrors.IsInvalid(err) || apierrors.IsRequestEntityTooLargeError(err)
}

// withoutTexts returns pod without the messages of its status.
func withoutTexts(pod *corev1.Pod) *corev1.Pod {
	pod = pod.DeepCopy()
	s := &pod.Status
	s.Message = ""
	for i := range s.Conditions {
		s.Conditions[i].Message = ""
	}
	for _, all := range [][]corev1.ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses, s.EphemeralContainerStatuses} {
		for i := range all {
			for _, state := range []*corev1.ContainerState{&all[i].State, &all[i].LastTerminationState} {
				if state.Waiting != nil {
					state.Waiting.Message = ""
				}
				if state.Terminated != nil {
					state.Terminated.Message = ""
				}
			}
		}
	}
	return pod
}

// patchStatus writes pod's status as a strategic merge patch, with its UID as precondition; the fields to leave stay as they
// are. Conditions of others, such as readiness gates, stay. The error is the API server's own: Virtual Kubelet can't look into
// a wrapped one.
func patchStatus(ctx context.Context, pods corev1client.PodInterface, pod *corev1.Pod, leave ...string) (*corev1.Pod, error) {
	patch, err := statusPatch(pod, leave...)
	if err != nil {
		return nil, err
	}
	return pods.Patch(ctx, pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
}

func statusPatch(pod *corev1.Pod, leave ...string) ([]byte, error) {
	status, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&pod.Status)
	if err != nil {
		return nil, fmt.Errorf("convert status: %w", err)
	}
	clearAbsent(status, ours...)
	for _, key := range leave {
		delete(status, key)
	}
	for _, key := range replaced {
		list, _ := status[key].([]any)
		status[key] = append(list, map[string]any{"$patch": "replace"})
	}
	conditions, _ := status["conditions"].([]any)
	for _, c := range conditions {
		if condition, ok := c.(map[string]any); ok {
			clearAbsent(condition, "reason", "message")
		}
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": pod.UID},
		"status":   status,
	})
	if err != nil {
		return nil, fmt.Errorf("encode status: %w", err)
	}
	return patch, nil
}

// clearAbsent has a merge remove what object does not say: it would leave what was written before.
func clearAbsent(object map[string]any, keys ...string) {
	for _, key := range keys {
		if _, ok := object[key]; !ok {
			object[key] = nil
		}
	}
}
