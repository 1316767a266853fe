package downward

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Inputs are what a pod may refer to and what its object does not say (yet).
type Inputs struct {
	PodIP  string
	HostIP string
	// NodeAllocatable stands for limits that a container does not have.
	NodeAllocatable corev1.ResourceList
}

// Field returns the value of a field of pod.
func Field(pod *corev1.Pod, ref *corev1.ObjectFieldSelector, in Inputs) (string, error) {
	if key, ok := subscript(ref.FieldPath, "metadata.labels"); ok {
		return pod.Labels[key], nil
	}
	if key, ok := subscript(ref.FieldPath, "metadata.annotations"); ok {
		return pod.Annotations[key], nil
	}
	switch ref.FieldPath {
	case "metadata.name":
		return pod.Name, nil
	case "metadata.namespace":
		return pod.Namespace, nil
	case "metadata.uid":
		return string(pod.UID), nil
	case "metadata.labels":
		return lines(pod.Labels), nil
	case "metadata.annotations":
		return lines(pod.Annotations), nil
	case "spec.nodeName":
		return pod.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, nil
	case "status.hostIP", "status.hostIPs":
		return in.HostIP, nil
	case "status.podIP", "status.podIPs":
		return in.PodIP, nil
	}
	return "", fmt.Errorf("unsupported fieldPath: %s", ref.FieldPath)
}

// subscript returns key where path is field['key'].
func subscript(path, field string) (key string, ok bool) {
	rest, ok := strings.CutPrefix(path, field+"['")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(rest, "']")
}

// lines is the format of labels and annotations in the downward API: key="value", sorted, values quoted as in Go.
func lines(m map[string]string) string {
	all := make([]string, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		all = append(all, k+"="+strconv.Quote(m[k]))
	}
	return strings.Join(all, "\n")
}

// Resource returns a limit or request of a container of pod, in units of the divisor and rounded up. The container is
// ref.ContainerName, or self where that is empty. A limit that the container does not have is the node's.
func Resource(pod *corev1.Pod, self *corev1.Container, ref *corev1.ResourceFieldSelector, in Inputs) (string, error) {
	c, err := container(pod, self, ref.ContainerName)
	if err != nil {
		return "", err
	}
	kind, name, _ := strings.Cut(ref.Resource, ".")
	switch corev1.ResourceName(name) {
	case corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage:
	default:
		return "", fmt.Errorf("unsupported container resource: %s", ref.Resource)
	}
	var q resource.Quantity
	switch kind {
	case "limits":
		q = limit(c, corev1.ResourceName(name), in.NodeAllocatable)
	case "requests":
		q = c.Resources.Requests[corev1.ResourceName(name)]
	default:
		return "", fmt.Errorf("unsupported container resource: %s", ref.Resource)
	}
	return strconv.FormatInt(divide(q, ref.Divisor, corev1.ResourceName(name)), 10), nil
}

func container(pod *corev1.Pod, self *corev1.Container, name string) (*corev1.Container, error) {
	if name == "" {
		if self == nil {
			return nil, errors.New("resourceFieldRef without containerName")
		}
		return self, nil
	}
	for _, all := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range all {
			if all[i].Name == name {
				return &all[i], nil
			}
		}
	}
	return nil, fmt.Errorf("container %s not found", name)
}

func limit(c *corev1.Container, name corev1.ResourceName, allocatable corev1.ResourceList) resource.Quantity {
	if q, ok := c.Resources.Limits[name]; ok && !q.IsZero() {
		return q
	}
	return allocatable[name]
}

// divide rounds up. Processors are counted in thousandths, all else in whole units; no divisor is 1.
func divide(q, divisor resource.Quantity, name corev1.ResourceName) int64 {
	if divisor.IsZero() {
		divisor = *resource.NewQuantity(1, resource.DecimalSI)
	}
	n, d := q.Value(), divisor.Value()
	if name == corev1.ResourceCPU {
		n, d = q.MilliValue(), divisor.MilliValue()
	}
	return n/d + min(n%d, 1)
}
