package pki

import (
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"time"
)

// KubeletClientUser is whom the API server is to the node's kubelet API; it needs the role system:kubelet-api-admin.
const KubeletClientUser = "kube-apiserver-kubelet-client"

// FrontProxyUser is whom the API server is to aggregated API servers.
const FrontProxyUser = "front-proxy-client"

// Config says for whom credentials are made.
type Config struct {
	// Dir is the directory of all files. Ensure creates it and takes it from everybody else.
	Dir string
	// NodeName is the node that gets a client certificate.
	NodeName string
	// ServiceIP is the address of the Service kubernetes.default.
	ServiceIP net.IP
	// PodListen is the further address at which pods reach the API server; nil means none.
	PodListen net.IP
}

// Pair is a certificate and its key, both PEM.
type Pair struct {
	CertFile string
	KeyFile  string
}

// Signing is the key pair of service-account tokens, both PEM.
type Signing struct {
	PublicFile  string
	PrivateFile string
}

// Set is where everything is. The authorities' keys are CA.KeyFile and FrontProxyCA.KeyFile.
type Set struct {
	CA, FrontProxyCA   Pair
	APIServer          Pair
	KubeletClient      Pair
	FrontProxyClient   Pair
	ControllerManager  Pair
	Scheduler          Pair
	Admin              Pair
	Node               Pair
	ServiceAccountKeys Signing
}

// NodeUser is the Kubernetes user name of the node called name.
func NodeUser(name string) string { return "system:node:" + name }

// Ensure brings the directory to what cfg says as of now, and returns where the files are. It is not safe for
// concurrent use on one directory.
func Ensure(cfg Config, now time.Time) (*Set, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("create credentials directory: %w", err)
	}
	if err := os.Chmod(cfg.Dir, 0o700); err != nil { //nolint:gosec // a directory needs its execute bit
		return nil, fmt.Errorf("protect credentials directory: %w", err)
	}
	s := &store{dir: cfg.Dir, now: now}
	ca, err := s.authority("ca", "vic-ca")
	if err != nil {
		return nil, err
	}
	front, err := s.authority("front-proxy-ca", "vic-front-proxy-ca")
	if err != nil {
		return nil, err
	}
	set := &Set{CA: s.pair("ca"), FrontProxyCA: s.pair("front-proxy-ca")}
	if set.ServiceAccountKeys, err = s.signingKey("service-account"); err != nil {
		return nil, err
	}
	if set.FrontProxyClient, err = s.leaf(front, client("front-proxy-client", FrontProxyUser)); err != nil {
		return nil, err
	}
	for pair, l := range set.leaves(cfg) {
		if *pair, err = s.leaf(ca, l); err != nil {
			return nil, err
		}
	}
	return set, nil
}

func (s *store) pair(name string) Pair {
	return Pair{CertFile: s.certPath(name), KeyFile: s.keyPath(name)}
}

// leaves holds each certificate that the cluster's authority signs.
func (set *Set) leaves(cfg Config) map[*Pair]leaf {
	return map[*Pair]leaf{
		&set.APIServer: {
			name: "apiserver", user: "kube-apiserver", dns: servingNames(), ips: servingIPs(cfg),
			usage: x509.ExtKeyUsageServerAuth,
		},
		&set.KubeletClient:     client("apiserver-kubelet-client", KubeletClientUser),
		&set.ControllerManager: client("controller-manager", "system:kube-controller-manager"),
		&set.Scheduler:         client("scheduler", "system:kube-scheduler"),
		&set.Admin:             client("admin", "kubernetes-admin", "system:masters"),
		&set.Node:              client("node", NodeUser(cfg.NodeName), "system:nodes"),
	}
}

func client(name, user string, groups ...string) leaf {
	return leaf{name: name, user: user, groups: groups, usage: x509.ExtKeyUsageClientAuth}
}

func servingNames() []string {
	return []string{
		"localhost",
		"kubernetes",
		"kubernetes.default",
		"kubernetes.default.svc",
		"kubernetes.default.svc.cluster.local",
	}
}

func servingIPs(cfg Config) []net.IP {
	ips := []net.IP{net.IPv4(127, 0, 0, 1), cfg.ServiceIP}
	if cfg.PodListen != nil {
		ips = append(ips, cfg.PodListen)
	}
	return ips
}
