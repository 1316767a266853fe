package plan

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// ImageConfig is the part of an image's configuration that a container starts from.
type ImageConfig struct {
	Entrypoint []string
	Cmd        []string
	Env        []string // KEY=VALUE
	User       string
	WorkingDir string
	StopSignal string
}

// ContainerInputs are what Container needs beside the pod's spec.
type ContainerInputs struct {
	Image ImageConfig
	// Env is what environment.Resolver.Env returned; the image's variables that it does not set are added here.
	Env []string
	// Disks are the serial numbers of the image's disks, topmost first.
	Disks    []string
	Defaults Defaults
}

// Container returns how the guest runs c. An error is an *environment.ConfigError.
func Container(pod *corev1.Pod, c *corev1.Container, in ContainerInputs) (wire.Container, error) {
	return wire.Container{}, nil
}
