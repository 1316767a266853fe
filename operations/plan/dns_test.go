package plan_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/operations/plan"
)

func TestParseResolvConf(t *testing.T) {
	text := "# comment\nnameserver 192.0.2.1\nnameserver 2001:db8::1\n\nsearch old\nsearch example.com. corp .\n" +
		"options ndots:2 rotate\noptions ndots:3\nnameserver\nsortlist 1\n"
	require.Equal(t, wire.DNS{
		Nameservers: []string{"192.0.2.1", "2001:db8::1"}, Searches: []string{"example.com", "corp"},
		Options: []string{"ndots:3", "rotate"},
	}, plan.ParseResolvConf(text))
}

func TestDNS(t *testing.T) {
	host := wire.DNS{Nameservers: []string{"127.0.0.53", "192.0.2.1"}, Searches: []string{"corp"}, Options: []string{"edns0"}}
	cluster := plan.ClusterDNS{Servers: []string{"10.96.0.10"}, Domain: "cluster.local"}
	loopback := plan.Warning{
		Reason:  plan.ReasonDNSConfigForming,
		Message: "the node's name server 127.0.0.53 was left out: pods can't reach the node's loopback",
	}
	tests := map[string]struct {
		policy  corev1.DNSPolicy
		config  *corev1.PodDNSConfig
		cluster plan.ClusterDNS
		want    wire.DNS
		warning plan.Warning
	}{
		"the cluster's server and domains first": {
			policy: corev1.DNSClusterFirst, cluster: cluster,
			want: wire.DNS{
				Nameservers: []string{"10.96.0.10"},
				Searches:    []string{"shop.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp"}, Options: []string{"ndots:5"},
			},
		},
		"a cluster without a server is the node's business": {
			policy: corev1.DNSClusterFirst,
			want:   wire.DNS{Nameservers: []string{"192.0.2.1"}, Searches: []string{"corp"}, Options: []string{"edns0"}},
			warning: plan.Warning{
				Reason:  plan.ReasonMissingClusterDNS,
				Message: `the node has no cluster DNS and cannot give the pod the "ClusterFirst" policy: falling back to the "Default" policy`,
			},
		},
		"a cluster that gives its names in /etc/hosts misses nothing": {
			policy:  corev1.DNSClusterFirst,
			cluster: plan.ClusterDNS{Hosts: []wire.Host{{IP: "10.96.0.1", Names: []string{"kubernetes.default"}}}},
			want:    wire.DNS{Nameservers: []string{"192.0.2.1"}, Searches: []string{"corp"}, Options: []string{"edns0"}}, warning: loopback,
		},
		"the node's, less what a pod can't reach": {
			policy: corev1.DNSDefault, cluster: cluster, warning: loopback,
			want: wire.DNS{Nameservers: []string{"192.0.2.1"}, Searches: []string{"corp"}, Options: []string{"edns0"}},
		},
		"nothing but the pod's own": {
			policy: corev1.DNSNone, cluster: cluster,
			config: &corev1.PodDNSConfig{
				Nameservers: []string{"192.0.2.7"}, Searches: []string{"a", "a"},
				Options: []corev1.PodDNSConfigOption{{Name: "ndots", Value: new("1")}, {Name: "rotate"}},
			},
			want: wire.DNS{Nameservers: []string{"192.0.2.7"}, Searches: []string{"a"}, Options: []string{"ndots:1", "rotate"}},
		},
		"the pod's own joins and replaces options": {
			policy: corev1.DNSClusterFirst, cluster: plan.ClusterDNS{Servers: []string{"10.96.0.10"}},
			config: &corev1.PodDNSConfig{
				Nameservers: []string{"10.96.0.10", "192.0.2.7"}, Options: []corev1.PodDNSConfigOption{{Name: "ndots", Value: new("2")}},
			},
			want: wire.DNS{Nameservers: []string{"10.96.0.10", "192.0.2.7"}, Searches: []string{"corp"}, Options: []string{"ndots:2"}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			pod := &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Namespace: "shop"},
				Spec:       corev1.PodSpec{DNSPolicy: tt.policy, DNSConfig: tt.config},
			}
			got, warning := plan.DNS(pod, tt.cluster, host)
			assert.Equal(t, tt.want, got)
			assert.Equal(t, tt.warning, warning)
		})
	}
	assert.Equal(t, []string{"edns0"}, host.Options, "the node's stays as it is")
}

func TestDNSKeepsToWhatResolversTake(t *testing.T) {
	config := &corev1.PodDNSConfig{Nameservers: []string{"1", "2", "3", "4"}, Searches: []string{strings.Repeat("x", 254)}}
	for i := range 40 {
		config.Searches = append(config.Searches, fmt.Sprintf("%d.%s", i, strings.Repeat("y", 100)))
	}
	pod := &corev1.Pod{Spec: corev1.PodSpec{DNSPolicy: corev1.DNSNone, DNSConfig: config}}
	got, warning := plan.DNS(pod, plan.ClusterDNS{}, wire.DNS{})
	assert.Equal(t, []string{"1", "2", "3"}, got.Nameservers)
	assert.Len(t, got.Searches, 19)
	assert.LessOrEqual(t, len(strings.Join(got.Searches, " ")), 2048)
	assert.Equal(t, plan.ReasonDNSConfigForming, warning.Reason)
	assert.Contains(t, warning.Message, "Nameserver limits were exceeded")
	assert.Contains(t, warning.Message, "Search Line limits were exceeded")
}
