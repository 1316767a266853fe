package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// spreadBytes is how much of a hash distinguishes groups.
const spreadBytes = 8

// SpreadGroup names the pods that a pod wants to be spread with over machines: those of its controller, or with none those
// that its constraint selects. It is 16 hex digits, and empty for a pod without a topology spread constraint over
// kubernetes.io/hostname. To a scheduler a virtual node is one machine, and below it are several.
func SpreadGroup(pod *corev1.Pod) string {
	i := slices.IndexFunc(pod.Spec.TopologySpreadConstraints, func(c corev1.TopologySpreadConstraint) bool {
		return c.TopologyKey == corev1.LabelHostname
	})
	if i < 0 {
		return ""
	}
	of := "selector/" + pod.Namespace + "/" + metav1.FormatLabelSelector(pod.Spec.TopologySpreadConstraints[i].LabelSelector)
	if owner := metav1.GetControllerOf(pod); owner != nil {
		of = "owner/" + string(owner.UID)
	}
	sum := sha256.Sum256([]byte(of))
	return hex.EncodeToString(sum[:spreadBytes])
}
