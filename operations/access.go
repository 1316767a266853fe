package operations

import (
	"context"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
)

// Container names a container as users do. With an empty Container it is the pod's first.
type Container struct{ Namespace, Name, Container string }

// Logs returns the log of one attempt of a container. The previous one is the one that the status shows as the last
// termination; while the container waits for its restart, it is the latest attempt. portlayer.ErrNotFound.
func (m *Manager) Logs(ctx context.Context, c Container, opts podvm.LogOptions) (io.ReadCloser, error) {
	uid, name, err := m.resolve(c)
	if err != nil {
		return nil, err
	}
	if opts.Previous && opts.Attempt == nil {
		opts.Attempt = m.endedAttempt(types.UID(uid), name)
	}
	return m.cfg.Host.Logs(ctx, uid, name, opts)
}

// endedAttempt is the number of the attempt that ended last of a container that waits for the next one. A VM that ended
// with its containers could not say so itself.
func (m *Manager) endedAttempt(uid types.UID, container string) *int32 {
	e, ok := m.cfg.Cache.Get(uid)
	if !ok {
		return nil
	}
	st := &e.Pod.Status
	for _, list := range [][]corev1.ContainerStatus{st.ContainerStatuses, st.InitContainerStatuses, st.EphemeralContainerStatuses} {
		for i := range list {
			s := &list[i]
			if s.Name == container && s.State.Waiting != nil && s.LastTerminationState.Terminated != nil {
				return &s.RestartCount
			}
		}
	}
	return nil
}

// Running returns nil when the process of a container runs, as far as its guest has said; with an empty Container, when the
// pod's VM does. portlayer.ErrNotFound, ErrNotRunning.
func (m *Manager) Running(ctx context.Context, c Container) error {
	uid, name, err := m.resolve(c)
	if err != nil {
		return err
	}
	vm, err := m.cfg.Host.Get(ctx, uid)
	if err != nil {
		return err
	}
	if vm.State != portlayer.StateRunning {
		return fmt.Errorf("VM of pod %s/%s: %w", c.Namespace, c.Name, portlayer.ErrNotRunning)
	}
	if c.Container == "" {
		return nil
	}
	// A guest that vic has just found again has said it before: whether it is still so, the call itself will show.
	if vm.Guest != nil {
		if s, ok := vm.Guest.Container(name); ok && s.State == wire.ContainerRunning {
			return nil
		}
	}
	return fmt.Errorf("container %s of pod %s/%s: %w", name, c.Namespace, c.Name, portlayer.ErrNotRunning)
}

// Exec runs a command in a running container. portlayer.ErrNotFound, ErrNotRunning, ErrGuestUnreachable.
func (m *Manager) Exec(ctx context.Context, c Container, exec wire.Exec, streams podvm.Stdio) (wire.Exit, error) {
	uid, name, err := m.resolve(c)
	if err != nil {
		return wire.Exit{}, err
	}
	return m.cfg.Host.Exec(ctx, uid, name, exec, streams)
}

// Attach connects to the running process of a container. Errors are those of Exec.
func (m *Manager) Attach(ctx context.Context, c Container, attach wire.Attach, streams podvm.Stdio) (wire.Exit, error) {
	uid, name, err := m.resolve(c)
	if err != nil {
		return wire.Exit{}, err
	}
	return m.cfg.Host.Attach(ctx, uid, name, attach, streams)
}

// DialPort opens a TCP connection to a port of a pod, from inside. portlayer.ErrNotFound, ErrNotRunning,
// ErrGuestUnreachable.
func (m *Manager) DialPort(ctx context.Context, namespace, name string, port uint16) (io.ReadWriteCloser, error) {
	e, ok := m.cfg.Cache.Lookup(namespace, name)
	if !ok {
		return nil, fmt.Errorf("pod %s/%s: %w", namespace, name, portlayer.ErrNotFound)
	}
	return m.cfg.Host.DialPort(ctx, string(e.Pod.UID), port)
}

// resolve returns the UID and the container's name. It takes any name where only the pod's VM is known.
func (m *Manager) resolve(c Container) (uid, name string, err error) {
	e, ok := m.cfg.Cache.Lookup(c.Namespace, c.Name)
	if !ok {
		return "", "", fmt.Errorf("pod %s/%s: %w", c.Namespace, c.Name, portlayer.ErrNotFound)
	}
	if e.Restored {
		return string(e.Pod.UID), c.Container, nil
	}
	for _, own := range containerNames(&e.Pod.Spec) {
		if own == c.Container || c.Container == "" {
			return string(e.Pod.UID), own, nil
		}
	}
	return "", "", fmt.Errorf("container %q in pod %s/%s: %w", c.Container, c.Namespace, c.Name, portlayer.ErrNotFound)
}

// containerNames are the names of all containers of a pod, the first of which is what a user means who names none.
func containerNames(spec *corev1.PodSpec) []string {
	var names []string
	for i := range spec.Containers {
		names = append(names, spec.Containers[i].Name)
	}
	for i := range spec.InitContainers {
		names = append(names, spec.InitContainers[i].Name)
	}
	for i := range spec.EphemeralContainers {
		names = append(names, spec.EphemeralContainers[i].Name)
	}
	return names
}
