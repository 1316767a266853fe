package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// What resolvers take, and what the API server admits (validation of PodDNSConfig).
const (
	maxNameservers = 3
	maxSearches    = 32
	maxSearchChars = 2048
	maxSearchName  = 253
)

// Event reasons of DNS, the kubelet's.
const (
	ReasonMissingClusterDNS = "MissingClusterDNS"
	ReasonDNSConfigForming  = "DNSConfigForming"
)

// ClusterDNS is the cluster's own name service.
type ClusterDNS struct {
	// Servers is empty where the cluster has none.
	Servers []string
	// Domain is the domain of the cluster's services, such as cluster.local.
	Domain string
	// Hosts stand in /etc/hosts of every pod. A cluster without servers gives its few names so, and its pods miss nothing.
	Hosts []wire.Host
}

// Warning is an event's reason and message; the zero value is none.
type Warning struct{ Reason, Message string }

// ParseResolvConf reads the text of a resolv.conf. As in a resolver, the last search line holds, and what it does not
// know it skips.
func ParseResolvConf(text string) wire.DNS {
	var dns wire.DNS
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		switch words[0] {
		case "nameserver":
			dns.Nameservers = append(dns.Nameservers, words[1])
		case "search", "domain":
			dns.Searches = nil
			for _, s := range words[1:] {
				if s = strings.TrimSuffix(s, "."); s != "" {
					dns.Searches = append(dns.Searches, s)
				}
			}
		case "options":
			dns.Options = mergeOptions(dns.Options, words[1:])
		}
	}
	return dns
}

// DNS returns the resolv.conf of pod after its dnsPolicy and dnsConfig; host is that of the node. warning is empty or
// says what was left out or could not be had (the kubelet's event reasons MissingClusterDNS and DNSConfigForming).
func DNS(pod *corev1.Pod, cluster ClusterDNS, host wire.DNS) (dns wire.DNS, warning Warning) {
	host, left := reachable(host)
	switch policy := pod.Spec.DNSPolicy; {
	case policy == corev1.DNSNone:
		left = nil
	case policy == corev1.DNSDefault:
		dns = host
	case len(cluster.Servers) == 0:
		dns = host
		if len(cluster.Hosts) > 0 {
			break
		}
		warning = Warning{ReasonMissingClusterDNS, fmt.Sprintf("the node has no cluster DNS and cannot give the pod the %q policy: "+
			"falling back to the %q policy", policy, corev1.DNSDefault)}
	default:
		left = nil
		dns = wire.DNS{
			Nameservers: slices.Clone(cluster.Servers),
			Searches:    slices.Concat(clusterSearches(pod.Namespace, cluster.Domain), host.Searches),
			Options:     []string{"ndots:5"},
		}
	}
	if c := pod.Spec.DNSConfig; c != nil {
		dns.Nameservers = slices.Concat(dns.Nameservers, c.Nameservers)
		dns.Searches = slices.Concat(dns.Searches, c.Searches)
		dns.Options = mergeOptions(dns.Options, podOptions(c.Options))
	}
	dns.Nameservers, dns.Searches = unique(dns.Nameservers), unique(dns.Searches)
	left = append(left, limit(&dns)...)
	if len(left) > 0 && warning.Reason == "" {
		warning = Warning{ReasonDNSConfigForming, strings.Join(left, "; ")}
	}
	return dns, warning
}

// reachable drops the node's own resolver: it listens on the node's loopback, where no pod gets.
func reachable(host wire.DNS) (dns wire.DNS, left []string) {
	dns = wire.DNS{Searches: host.Searches, Options: host.Options}
	for _, s := range host.Nameservers {
		if a, err := netip.ParseAddr(s); err == nil && a.IsLoopback() {
			left = append(left, "the node's name server "+s+" was left out: pods can't reach the node's loopback")
			continue
		}
		dns.Nameservers = append(dns.Nameservers, s)
	}
	return dns, left
}

func clusterSearches(namespace, domain string) []string {
	if domain == "" {
		return nil
	}
	return []string{namespace + ".svc." + domain, "svc." + domain, domain}
}

func podOptions(all []corev1.PodDNSConfigOption) []string {
	options := make([]string, 0, len(all))
	for _, o := range all {
		if o.Value != nil && *o.Value != "" {
			options = append(options, o.Name+":"+*o.Value)
			continue
		}
		options = append(options, o.Name)
	}
	return options
}

// mergeOptions adds more to options; one of the same name takes the place of the former.
func mergeOptions(options, more []string) []string {
	name := func(o string) string { n, _, _ := strings.Cut(o, ":"); return n }
	merged := slices.Clone(options)
	for _, o := range more {
		i := slices.IndexFunc(merged, func(m string) bool { return name(m) == name(o) })
		if i < 0 {
			merged = append(merged, o)
			continue
		}
		merged[i] = o
	}
	return merged
}

func unique(all []string) []string {
	var out []string
	for _, s := range all {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// limit cuts dns to what resolvers take and returns a sentence on each thing that was cut.
func limit(dns *wire.DNS) []string {
	var left []string
	if len(dns.Nameservers) > maxNameservers {
		dns.Nameservers = dns.Nameservers[:maxNameservers]
		left = append(left, "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: "+
			strings.Join(dns.Nameservers, " "))
	}
	fitting := slices.DeleteFunc(slices.Clone(dns.Searches), func(s string) bool { return len(s) > maxSearchName })
	fitting = fitting[:min(len(fitting), maxSearches)]
	for len(strings.Join(fitting, " ")) > maxSearchChars {
		fitting = fitting[:len(fitting)-1]
	}
	if len(fitting) < len(dns.Searches) {
		dns.Searches = fitting
		left = append(left, "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: "+
			strings.Join(fitting, " "))
	}
	return left
}
