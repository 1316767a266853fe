package provider

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/virtual-kubelet/vic/config"
)

// claimant is a reporter on the machine m1 for a VCH of that owner.
func claimant(client *fake.Clientset, owner string) *nodeReporter {
	r := newReporter(client, &vch{}, config.DefaultTaint())
	r.desc.MachineID, r.desc.SystemUUID = "m1", "s1"
	if owner != "" {
		r.desc.Labels = map[string]string{config.OwnerLabel: owner}
	}
	r.leases = client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	return r
}

func TestANodeOfSomebodyElseIsNeverTakenOver(t *testing.T) {
	labels := func(pairs ...string) map[string]string {
		all := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			all[pairs[i]] = pairs[i+1]
		}
		return all
	}
	tests := map[string]struct {
		labels  map[string]string
		owner   string
		foreign bool
	}{
		"a kubelet's":                               {labels("kubernetes.io/os", "linux"), "", true},
		"another kind of node's":                    {labels("type", "edge"), "", true},
		"that of a VirtualContainerHost":            {labels("type", "virtual-kubelet", config.OwnerLabel, "u-1"), "", true},
		"that of another VirtualContainerHost":      {labels("type", "virtual-kubelet", config.OwnerLabel, "u-1"), "u-2", true},
		"one of a file, for a VirtualContainerHost": {labels("type", "virtual-kubelet"), "u-2", true},
		"its own, of a file":                        {labels("type", "virtual-kubelet"), "", false},
		"its own, of a VirtualContainerHost":        {labels("type", "virtual-kubelet", config.OwnerLabel, "u-1"), "u-1", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "v", Labels: tt.labels}})
			r := claimant(client, tt.owner)
			_, registered := r.register(t.Context())
			if !tt.foreign {
				require.NoError(t, registered)
				require.NoError(t, r.mayServe(t.Context()))
				return
			}
			require.ErrorIs(t, registered, config.ErrForeignNode)
			require.ErrorIs(t, r.mayServe(t.Context()), config.ErrForeignNode, "pods that are bound to it are not run either")
			got, err := client.CoreV1().Nodes().Get(t.Context(), "v", metav1.GetOptions{})
			require.NoError(t, err)
			assert.Empty(t, got.Spec.Taints)
		})
	}
}

func TestANodeThatAnotherMachineServesIsRefused(t *testing.T) {
	const live, ended = 10 * time.Second, time.Minute
	tests := map[string]struct {
		machine, system string
		ready           string // reason
		renewed         time.Duration
		refused         bool
	}{
		"another machine that renews its lease":        {"m2", "s2", "VCHReady", live, true},
		"a clone of this machine's disk":               {"m1", "s2", "VCHReady", live, true},
		"this machine, after a restart":                {"m1", "s1", "VCHReady", live, false},
		"another machine that has shut down":           {"m2", "s2", "NodeShutdown", live, false},
		"another machine that is gone":                 {"m2", "s2", "VCHReady", ended, false},
		"one that does not say which machine it is on": {"", "", "VCHReady", live, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset(&corev1.Node{ObjectMeta: virtual(), Status: corev1.NodeStatus{
				NodeInfo:   corev1.NodeSystemInfo{MachineID: tt.machine, SystemUUID: tt.system},
				Addresses:  []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.7"}},
				Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Reason: tt.ready}},
			}}, leaseOf(time.Now().Add(-tt.renewed)))
			r := claimant(client, "")
			err := r.mayServe(t.Context())
			if !tt.refused {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, errServedElsewhere)
			require.ErrorContains(t, err, "at 192.0.2.7")
			_, err = r.register(t.Context())
			require.ErrorIs(t, err, errServedElsewhere)
			r.leases = nil
			require.NoError(t, r.mayServe(t.Context()), "an election has decided")
		})
	}
}

func leaseOf(renewed time.Time) *coordinationv1.Lease {
	seconds, at := int32(40), metav1.NewMicroTime(renewed)
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: corev1.NamespaceNodeLease, Name: "v"},
		Spec:       coordinationv1.LeaseSpec{RenewTime: &at, LeaseDurationSeconds: &seconds},
	}
}
