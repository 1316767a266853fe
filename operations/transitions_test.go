package operations_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/virtual-kubelet/vic/cache"
)

// apiServer refuses statuses as a real one does (k8s.io/kubernetes, pkg/apis/core/validation, ValidatePodStatusUpdate): a
// container whose end was its last by its restart policy may not leave it.
type apiServer struct {
	t *testing.T

	mu      sync.Mutex // guards written
	written map[types.UID]corev1.PodStatus
}

func (a *apiServer) write(e cache.Entry) {
	a.mu.Lock()
	defer a.mu.Unlock()
	before, now := a.written[e.Pod.UID], e.Pod.Status
	a.check(e.Pod, e.Pod.Spec.InitContainers, before.InitContainerStatuses, now.InitContainerStatuses)
	a.check(e.Pod, e.Pod.Spec.Containers, before.ContainerStatuses, now.ContainerStatuses)
	a.written[e.Pod.UID] = now
}

func (a *apiServer) check(pod *corev1.Pod, containers []corev1.Container, before, now []corev1.ContainerStatus) {
	for _, c := range containers {
		named := func(s corev1.ContainerStatus) bool { return s.Name == c.Name }
		was, is := slices.IndexFunc(before, named), slices.IndexFunc(now, named)
		if was < 0 || is < 0 || before[was].State.Terminated == nil || now[is].State.Terminated != nil {
			continue
		}
		end := before[was].State.Terminated
		assert.Truef(a.t, mayLeave(pod, &c, end.ExitCode), "container %s ended with %d and is now %+v", c.Name, end.ExitCode, now[is].State)
	}
}

func mayLeave(pod *corev1.Pod, c *corev1.Container, code int32) bool {
	for _, r := range c.RestartPolicyRules {
		if slices.Contains(r.ExitCodes.Values, code) != (r.ExitCodes.Operator == corev1.ContainerRestartRuleOnExitCodesOpNotIn) {
			return r.Action == corev1.ContainerRestartRuleActionRestart
		}
	}
	policy := pod.Spec.RestartPolicy
	if c.RestartPolicy != nil {
		policy = corev1.RestartPolicy(*c.RestartPolicy)
	}
	return policy == corev1.RestartPolicyAlways || policy == corev1.RestartPolicyOnFailure && code != 0
}
