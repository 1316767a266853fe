package plan_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/virtual-kubelet/vic/operations/plan"
	"github.com/virtual-kubelet/vic/portlayer"
)

const (
	mebi = int64(1) << 20
	gibi = int64(1) << 30
)

func list(pairs ...string) corev1.ResourceList {
	l := corev1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		l[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return l
}

func container(limits, requests corev1.ResourceList) corev1.Container {
	return corev1.Container{Name: "c", Resources: corev1.ResourceRequirements{Limits: limits, Requests: requests}}
}

func sidecar(limits corev1.ResourceList) corev1.Container {
	c := container(limits, nil)
	c.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
	return c
}

func emptyDir(medium corev1.StorageMedium, limit string) corev1.Volume {
	e := &corev1.EmptyDirVolumeSource{Medium: medium}
	if limit != "" {
		e.SizeLimit = new(resource.MustParse(limit))
	}
	return corev1.Volume{Name: "e", VolumeSource: corev1.VolumeSource{EmptyDir: e}}
}

func TestSize(t *testing.T) {
	tests := map[string]struct {
		initial    []corev1.Container
		containers []corev1.Container
		whole      *corev1.ResourceRequirements
		volumes    []corev1.Volume
		want       portlayer.Size
		scratch    int64
	}{
		"a container that asks for nothing gets the defaults": {
			containers: []corev1.Container{container(nil, nil)},
			want:       portlayer.Size{VCPUs: 1, CPUMilli: 1000, MemoryBytes: 640 * mebi}, scratch: 10 * gibi,
		},
		"a limit is stronger than a request": {
			containers: []corev1.Container{container(list("cpu", "2500m", "memory", "1Gi"), list("cpu", "1", "memory", "64Mi"))},
			want:       portlayer.Size{VCPUs: 3, CPUMilli: 2500, MemoryBytes: 1152 * mebi}, scratch: 10 * gibi,
		},
		"a request stands in for a limit": {
			containers: []corev1.Container{container(nil, list("cpu", "100m", "memory", "200Mi"))},
			want:       portlayer.Size{VCPUs: 1, CPUMilli: 100, MemoryBytes: 328 * mebi}, scratch: 10 * gibi,
		},
		"memory is rounded up to 4 MiB": {
			containers: []corev1.Container{container(list("memory", "100000001"), nil)},
			want:       portlayer.Size{VCPUs: 1, CPUMilli: 1000, MemoryBytes: 224 * mebi}, scratch: 10 * gibi,
		},
		"containers add up": {
			containers: []corev1.Container{container(list("cpu", "1500m", "memory", "256Mi"), nil), container(nil, nil)},
			want:       portlayer.Size{VCPUs: 3, CPUMilli: 2500, MemoryBytes: 896 * mebi}, scratch: 10 * gibi,
		},
		"a small init container takes no room of its own": {
			initial:    []corev1.Container{container(list("cpu", "1", "memory", "128Mi"), nil)},
			containers: []corev1.Container{container(list("cpu", "2", "memory", "256Mi"), nil)},
			want:       portlayer.Size{VCPUs: 2, CPUMilli: 2000, MemoryBytes: 384 * mebi}, scratch: 10 * gibi,
		},
		"a large init container has the VM for itself, with the sidecars before it": {
			initial: []corev1.Container{
				container(list("cpu", "4", "memory", "1Gi"), nil), sidecar(list("cpu", "500m", "memory", "64Mi")),
				container(list("cpu", "4", "memory", "1Gi"), nil), sidecar(list("cpu", "500m", "memory", "64Mi")),
			},
			containers: []corev1.Container{container(list("cpu", "2", "memory", "256Mi"), nil)},
			want:       portlayer.Size{VCPUs: 5, CPUMilli: 4500, MemoryBytes: 1216 * mebi}, scratch: 10 * gibi,
		},
		"sidecars run beside the containers": {
			initial:    []corev1.Container{sidecar(list("cpu", "500m", "memory", "64Mi")), sidecar(list("cpu", "500m", "memory", "64Mi"))},
			containers: []corev1.Container{container(list("cpu", "2", "memory", "256Mi"), nil)},
			want:       portlayer.Size{VCPUs: 3, CPUMilli: 3000, MemoryBytes: 512 * mebi}, scratch: 10 * gibi,
		},
		"the pod as a whole comes before its containers": {
			containers: []corev1.Container{container(list("cpu", "2"), nil), container(nil, nil)},
			whole:      &corev1.ResourceRequirements{Limits: list("cpu", "3"), Requests: list("cpu", "1", "memory", "200Mi")},
			want:       portlayer.Size{VCPUs: 3, CPUMilli: 3000, MemoryBytes: 328 * mebi}, scratch: 10 * gibi,
		},
		"an ephemeral-storage limit is the scratch disk, and the file system's own comes on top": {
			containers: []corev1.Container{container(list("ephemeral-storage", "1Gi"), nil)},
			want:       portlayer.Size{VCPUs: 1, CPUMilli: 1000, MemoryBytes: 640 * mebi}, scratch: gibi + 64*mebi,
		},
		"one container without a limit makes the default the least": {
			containers: []corev1.Container{container(list("ephemeral-storage", "1Gi"), nil), container(nil, nil)},
			want:       portlayer.Size{VCPUs: 2, CPUMilli: 2000, MemoryBytes: 1152 * mebi}, scratch: 10 * gibi,
		},
		"the scratch disk has room for volumes that say how large they get": {
			containers: []corev1.Container{container(nil, nil)},
			volumes:    []corev1.Volume{emptyDir("", "20Gi"), emptyDir(corev1.StorageMediumMemory, "99Gi"), emptyDir("", "")},
			want:       portlayer.Size{VCPUs: 1, CPUMilli: 1000, MemoryBytes: 640 * mebi}, scratch: 20*gibi + 64*mebi,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			pod := &corev1.Pod{Spec: corev1.PodSpec{InitContainers: tt.initial, Containers: tt.containers, Volumes: tt.volumes, Resources: tt.whole}}
			size, scratch := plan.Size(pod, plan.StandardDefaults())
			assert.Equal(t, tt.want, size)
			assert.Equal(t, tt.scratch, scratch)
		})
	}
}

func TestNoContainerMayUseTheWholeVM(t *testing.T) {
	for _, c := range []corev1.Container{container(nil, nil), container(list("memory", "1Gi"), nil), container(nil, list("memory", "64Mi"))} {
		pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{c}}}
		size, _ := plan.Size(pod, plan.StandardDefaults())
		got, err := plan.Container(pod, plan.Members(pod)[0], plan.ContainerInputs{
			Image: plan.ImageConfig{Cmd: []string{"x"}}, Defaults: plan.StandardDefaults(),
		})
		require.NoError(t, err)
		assert.Positive(t, got.Resources.MemoryBytes)
		assert.LessOrEqual(t, got.Resources.MemoryBytes, size.MemoryBytes-128*mebi)
	}
}
