package plan

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtual-kubelet/vic/guest/wire"
)

const (
	// maxHostname is what pod names are cut to, as the kubelet does.
	maxHostname = 63
	// maxNodename is what Linux takes, less its final NUL (sethostname(2)).
	maxNodename = 64
)

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
	// Disks are those of the claims that containers mount, by the names of the volumes.
	Disks map[string]Disk
	// StartTime is that of the pod's status, from which its deadline counts.
	StartTime *metav1.Time
	Seeds     []wire.Seed
	Defaults  Defaults
}

// Pod returns what all containers of pod share. Interfaces, time and entropy are the host's to add. It fails where the
// pod's host name should be its complete name and that is too long.
func Pod(pod *corev1.Pod, in PodInputs) (wire.Pod, error) {
	hostname, err := Hostname(pod, in.ClusterDomain)
	if err != nil {
		return wire.Pod{}, err
	}
	w := wire.Pod{
		UID:            string(pod.UID),
		Namespace:      pod.Namespace,
		Name:           pod.Name,
		Hostname:       hostname,
		DNS:            in.DNS,
		Hosts:          hosts(pod, in),
		ScratchDisk:    in.ScratchDisk,
		Volumes:        guestVolumes(pod, in.Disks, in.Defaults),
		Containers:     in.Seeds,
		Grace:          grace(pod),
		RestartPolicy:  string(cmp.Or(pod.Spec.RestartPolicy, corev1.RestartPolicyAlways)),
		Deadline:       Deadline(pod, in.StartTime),
		ShareProcesses: isTrue(pod.Spec.ShareProcessNamespace),
	}
	if s := pod.Spec.SecurityContext; s != nil {
		w.FSGroup = s.FSGroup
		w.FSGroupOnRootMismatch = s.FSGroupChangePolicy != nil && *s.FSGroupChangePolicy == corev1.FSGroupChangeOnRootMismatch
		for _, k := range s.Sysctls {
			w.Sysctls = append(w.Sysctls, wire.Sysctl{Name: strings.ReplaceAll(k.Name, "/", "."), Value: k.Value})
		}
	}
	return w, nil
}

// grace is the pod's grace period, which the API server has set to its default where the pod says none.
func grace(pod *corev1.Pod) time.Duration {
	seconds := pod.Spec.TerminationGracePeriodSeconds
	if seconds == nil {
		return corev1.DefaultTerminationGracePeriodSeconds * time.Second
	}
	return inSeconds(*seconds)
}

// Deadline is when pod, whose status says that it started at start, has been active for as long as it may; zero is never.
func Deadline(pod *corev1.Pod, start *metav1.Time) time.Time {
	if pod.Spec.ActiveDeadlineSeconds == nil || start == nil {
		return time.Time{}
	}
	return start.Add(inSeconds(*pod.Spec.ActiveDeadlineSeconds))
}

// Hostname is the name that pod has inside: its short one, or the complete one where the pod wants that and has a
// subdomain.
func Hostname(pod *corev1.Pod, clusterDomain string) (string, error) {
	fqdn := completeName(pod, clusterDomain)
	if fqdn == "" || !isTrue(pod.Spec.SetHostnameAsFQDN) {
		return shortName(pod), nil
	}
	if len(fqdn) > maxNodename {
		return "", fmt.Errorf("setHostnameAsFQDN: the complete name %s has %d characters, more than the %d that a host name may have",
			fqdn, len(fqdn), maxNodename)
	}
	return fqdn, nil
}

// shortName is spec.hostnameOverride or spec.hostname, else the pod's own, cut to what the kubelet takes.
func shortName(pod *corev1.Pod) string {
	name := cmp.Or(pod.Spec.Hostname, pod.Name)
	if o := pod.Spec.HostnameOverride; o != nil {
		name = *o
	}
	if len(name) > maxHostname {
		name = strings.TrimRight(name[:maxHostname], "-.")
	}
	return name
}

// completeName is the pod's name in the cluster, "" where it has no subdomain.
func completeName(pod *corev1.Pod, clusterDomain string) string {
	if pod.Spec.Subdomain == "" || pod.Spec.HostnameOverride != nil {
		return ""
	}
	return join(".", shortName(pod), pod.Spec.Subdomain, pod.Namespace, "svc", clusterDomain)
}

// hosts are the pod's own name, complete where it has a subdomain, the cluster's names, and the host aliases.
func hosts(pod *corev1.Pod, in PodInputs) []wire.Host {
	var lines []wire.Host
	if in.PodIP.IsValid() {
		names := []string{shortName(pod)}
		if fqdn := completeName(pod, in.ClusterDomain); fqdn != "" {
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
