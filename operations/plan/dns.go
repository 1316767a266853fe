package plan

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// ClusterDNS is the cluster's own name service.
type ClusterDNS struct {
	// Servers is empty where the cluster has none.
	Servers []string
	// Domain is the domain of the cluster's services, such as cluster.local.
	Domain string
}

// ParseResolvConf reads the text of a resolv.conf. As in a resolver, the last search line holds, and what it does not
// know it skips.
func ParseResolvConf(text string) wire.DNS { return wire.DNS{} }

// DNS returns the resolv.conf of pod after its dnsPolicy and dnsConfig; host is that of the node. warning is empty or
// says what was left out or could not be had (the kubelet's event reasons MissingClusterDNS and DNSConfigForming).
func DNS(pod *corev1.Pod, cluster ClusterDNS, host wire.DNS) (dns wire.DNS, warning Warning) {
	return wire.DNS{}, Warning{}
}

// Warning is an event's reason and message; the zero value is none.
type Warning struct{ Reason, Message string }
