package plan

import (
	"crypto/sha256"
	"encoding/hex"

	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// revisionBytes are plenty to distinguish the images of one container.
const revisionBytes = 8

// Member is one container of a pod with what it is to the pod.
type Member struct {
	*corev1.Container
	Role wire.Role
	// Target is the container whose processes an ephemeral one sees; empty is none.
	Target string
}

// Members returns all containers of pod in the order of its spec: init containers and sidecars, then those that it is
// made for, then ephemeral ones.
func Members(pod *corev1.Pod) []Member {
	s := &pod.Spec
	all := make([]Member, 0, len(s.InitContainers)+len(s.Containers)+len(s.EphemeralContainers))
	for i := range s.InitContainers {
		c := &s.InitContainers[i]
		m := Member{Container: c, Role: wire.RoleInit}
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			m.Role = wire.RoleSidecar
		}
		all = append(all, m)
	}
	for i := range s.Containers {
		all = append(all, Member{Container: &s.Containers[i], Role: wire.RoleApp})
	}
	for i := range s.EphemeralContainers {
		e := &s.EphemeralContainers[i]
		c := corev1.Container(e.EphemeralContainerCommon)
		all = append(all, Member{Container: &c, Role: wire.RoleEphemeral, Target: e.TargetContainerName})
	}
	return all
}

// Revision marks what can't change under a container that runs. As for a kubelet that is its image alone; another one
// takes the place of what runs.
func (m Member) Revision() string {
	sum := sha256.Sum256([]byte(m.Image))
	return hex.EncodeToString(sum[:revisionBytes])
}

// Taken reports whether a guest that reports c needs m no more: it has m as it is now, or will never run it.
// The image of an init container that runs changes with its next start, as with a kubelet.
func (m Member) Taken(c wire.ContainerStatus) bool {
	switch {
	case c.Final:
		return true
	case !c.Known:
		return false
	case m.Role == wire.RoleEphemeral, m.Role == wire.RoleInit && c.State == wire.ContainerRunning:
		return true
	}
	return c.Revision == m.Revision()
}
