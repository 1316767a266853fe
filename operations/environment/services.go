package environment

import (
	"cmp"
	"net"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// masterService is the service of the API server. Its variables reach every pod: a client inside the cluster finds the
// API server by them.
const masterService = "kubernetes"

// services returns the variables of the services that pod sees: that of the API server always, those of its own
// namespace where enableServiceLinks is not false. Of two with one name the pod's namespace wins.
func (r *Resolver) services(pod *corev1.Pod) (*variables, error) {
	seen := map[string]*corev1.Service{}
	master, err := r.cfg.Services.Services(metav1.NamespaceDefault)
	if err != nil {
		return nil, err
	}
	for _, s := range master {
		if s.Name == masterService && hasAddress(s) {
			seen[s.Name] = s
		}
	}
	if links := pod.Spec.EnableServiceLinks; links == nil || *links {
		own, err := r.cfg.Services.Services(pod.Namespace)
		if err != nil {
			return nil, err
		}
		for _, s := range own {
			if hasAddress(s) {
				seen[s.Name] = s
			}
		}
	}
	vars := newVariables()
	for _, s := range sortedByName(seen) {
		vars.addService(s)
	}
	return vars, nil
}

// hasAddress is false for headless services and for those that are another name for something outside.
func hasAddress(s *corev1.Service) bool {
	ip := s.Spec.ClusterIP
	return ip != "" && ip != corev1.ClusterIPNone && len(s.Spec.Ports) > 0
}

func sortedByName(m map[string]*corev1.Service) []*corev1.Service {
	all := make([]*corev1.Service, 0, len(m))
	for _, s := range m {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *corev1.Service) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// addService adds NAME_SERVICE_HOST, NAME_SERVICE_PORT, one NAME_SERVICE_PORT_PORTNAME for each named port, and the
// variables of Docker's container links.
func (v *variables) addService(s *corev1.Service) {
	name, ip := variableName(s.Name), s.Spec.ClusterIP
	v.set(name+"_SERVICE_HOST", ip)
	v.set(name+"_SERVICE_PORT", strconv.Itoa(int(s.Spec.Ports[0].Port)))
	for _, p := range s.Spec.Ports {
		if p.Name != "" {
			v.set(name+"_SERVICE_PORT_"+variableName(p.Name), strconv.Itoa(int(p.Port)))
		}
	}
	for i, p := range s.Spec.Ports {
		protocol := strings.ToLower(string(cmp.Or(p.Protocol, corev1.ProtocolTCP)))
		port := strconv.Itoa(int(p.Port))
		url := protocol + "://" + net.JoinHostPort(ip, port)
		if i == 0 {
			v.set(name+"_PORT", url)
		}
		link := name + "_PORT_" + port + "_" + strings.ToUpper(protocol)
		v.set(link, url)
		v.set(link+"_PROTO", protocol)
		v.set(link+"_PORT", port)
		v.set(link+"_ADDR", ip)
	}
}

func variableName(s string) string {
	return strings.ToUpper(strings.ReplaceAll(s, "-", "_"))
}
