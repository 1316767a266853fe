package podvm

import (
	"encoding/json"
	"fmt"

	"github.com/virtual-kubelet/vic/portlayer"
)

// annotationContainers keeps the names of a pod's containers with its VM, so that a process which finds the VM knows what
// its guest may report.
const annotationContainers = "podvm.containers"

// SetContainers names the pod's containers in a draft of its VM.
func SetContainers(h *portlayer.Handle, names []string) {
	h.SetAnnotation(AnnotateContainers(names...))
}

// AnnotateContainers is the annotation of a VM that names its pod's containers.
func AnnotateContainers(names ...string) (key, value string) {
	b, err := json.Marshal(names)
	if err != nil {
		panic(fmt.Sprintf("encode names: %v", err)) // strings can always be encoded
	}
	return annotationContainers, string(b)
}

// Containers are the names of the pod's containers; none where the VM does not say them.
func Containers(spec portlayer.Spec) []string {
	var names []string
	_ = json.Unmarshal([]byte(spec.Annotations[annotationContainers]), &names) // a VM without a guest plan has none
	return names
}
