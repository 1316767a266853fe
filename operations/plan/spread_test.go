package plan_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/virtual-kubelet/vic/operations/plan"
)

func spreadPod(namespace, owner, key string, labels map[string]string) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace}}
	if owner != "" {
		pod.OwnerReferences = []metav1.OwnerReference{{UID: types.UID(owner), Controller: new(true)}}
	}
	if key != "" {
		pod.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{
			{TopologyKey: "topology.kubernetes.io/zone"},
			{TopologyKey: key, LabelSelector: &metav1.LabelSelector{MatchLabels: labels}},
		}
	}
	return pod
}

func TestSpreadGroup(t *testing.T) {
	const host = "kubernetes.io/hostname"
	web, db := map[string]string{"app": "web"}, map[string]string{"app": "db"}
	assert.Empty(t, plan.SpreadGroup(spreadPod("a", "owner", "", nil)))
	assert.Empty(t, plan.SpreadGroup(spreadPod("a", "owner", "topology.kubernetes.io/region", web)))

	owned := plan.SpreadGroup(spreadPod("a", "owner", host, web))
	assert.Regexp(t, "^[0-9a-f]{16}$", owned)
	assert.Equal(t, owned, plan.SpreadGroup(spreadPod("a", "owner", host, db)), "the controller's pods are a group")
	assert.NotEqual(t, owned, plan.SpreadGroup(spreadPod("a", "other", host, web)))

	selected := plan.SpreadGroup(spreadPod("a", "", host, web))
	assert.Equal(t, selected, plan.SpreadGroup(spreadPod("a", "", host, web)))
	assert.NotEqual(t, selected, plan.SpreadGroup(spreadPod("a", "", host, db)))
	assert.NotEqual(t, selected, plan.SpreadGroup(spreadPod("b", "", host, web)), "a selector selects in its namespace")
}
