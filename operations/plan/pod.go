package plan

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// maxHostname is what Linux takes, less its final NUL (sethostname(2)).
const maxHostname = 63

// PodInputs are what Pod needs beside the pod's spec.
type PodInputs struct {
	DNS wire.DNS
	// PodIP is the address that /etc/hosts gives to the pod's own name; the zero Addr leaves the line out.
	PodIP netip.Addr
	// ClusterDomain is the domain of the cluster's services, such as cluster.local.
	ClusterDomain string
	// ClusterHosts are the lines that the cluster adds to /etc/hosts of every pod.
	ClusterHosts []wire.Host
	// ScratchDisk is the serial number of the scratch disk.
	ScratchDisk string
	Seeds       []wire.Seed
	Defaults    Defaults
}

// Pod returns what all containers of pod share. Interfaces, time and entropy are the host's to add.
func Pod(pod *corev1.Pod, in PodInputs) wire.Pod {
	return wire.Pod{
		UID:           string(pod.UID),
		Namespace:     pod.Namespace,
		Name:          pod.Name,
		Hostname:      Hostname(pod),
		DNS:           in.DNS,
		Hosts:         hosts(pod, in),
		ScratchDisk:   in.ScratchDisk,
		Volumes:       guestVolumes(pod, in.Defaults),
		Containers:    in.Seeds,
		RestartPolicy: string(cmp.Or(pod.Spec.RestartPolicy, corev1.RestartPolicyAlways)),
		Grace:         grace(pod),
	}
}

// grace is the pod's grace period, which the API server has set to its default where the pod says none.
func grace(pod *corev1.Pod) time.Duration {
	seconds := pod.Spec.TerminationGracePeriodSeconds
	if seconds == nil {
		return corev1.DefaultTerminationGracePeriodSeconds * time.Second
	}
	return time.Duration(*seconds) * time.Second
}

// Hostname is the name that pod has inside: spec.hostname, else its own, cut to the 63 characters that Linux takes.
func Hostname(pod *corev1.Pod) string {
	name := cmp.Or(pod.Spec.Hostname, pod.Name)
	if len(name) > maxHostname {
		name = strings.TrimRight(name[:maxHostname], "-.")
	}
	return name
}

// hosts are the pod's own name, complete where it has a subdomain, the cluster's names, and the host aliases.
func hosts(pod *corev1.Pod, in PodInputs) []wire.Host {
	var lines []wire.Host
	if in.PodIP.IsValid() {
		names := []string{Hostname(pod)}
		if pod.Spec.Subdomain != "" {
			fqdn := join(".", names[0], pod.Spec.Subdomain, pod.Namespace, "svc", in.ClusterDomain)
			names = []string{fqdn, names[0]}
		}
		lines = append(lines, wire.Host{IP: in.PodIP.String(), Names: names})
	}
	lines = append(lines, in.ClusterHosts...)
	for _, a := range pod.Spec.HostAliases {
		if len(a.Hostnames) > 0 {
			lines = append(lines, wire.Host{IP: a.IP, Names: slices.Clone(a.Hostnames)})
		}
	}
	return lines
}

// join joins what is not empty.
func join(sep string, parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), sep)
}
