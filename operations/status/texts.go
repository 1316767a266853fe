package status

import (
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// A pod's containers share so many bytes for their texts (kubelet, pkg/kubelet/container, MaxPodTerminationMessageLogLength), so
// that its status can always be written.
const maxPodTextBytes = 12 << 10

// bound cuts the texts of all containers: each gets an equal share, as a kubelet divides it, whoever wrote it.
func bound(s *corev1.PodStatus) {
	count := len(s.InitContainerStatuses) + len(s.ContainerStatuses) + len(s.EphemeralContainerStatuses)
	share := min(maxPodTextBytes/max(count, 1), wire.MaxMessageBytes)
	for _, all := range [][]corev1.ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses, s.EphemeralContainerStatuses} {
		for i := range all {
			for _, state := range []*corev1.ContainerState{&all[i].State, &all[i].LastTerminationState} {
				if state.Waiting != nil {
					state.Waiting.Message = cut(state.Waiting.Message, share)
				}
				if state.Terminated != nil {
					state.Terminated.Message = cut(state.Terminated.Message, share)
				}
			}
		}
	}
}

// cut leaves whole characters.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "")
}
