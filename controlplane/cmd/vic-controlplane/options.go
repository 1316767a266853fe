package main

import (
	"net/netip"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"
)

// What the API server takes: enough addresses to be of use, and no more than it can keep count of.
const (
	maxServiceBits = 20
	minServiceBits = 3
)

// runOptions are the flags of a run, as they were given.
type runOptions struct {
	dir         string
	apiPort     uint16
	podListen   string
	serviceCIDR string
	nodeName    string
	kubeconfig  string
	logFile     string
}

// runConfig is what the flags mean.
type runConfig struct {
	dir         string
	apiPort     int
	podListen   netip.AddrPort
	serviceCIDR netip.Prefix
	nodeName    string
	kubeconfig  string
	logFile     string
}

func (o *runOptions) addFlags(flags *pflag.FlagSet) {
	flags.Uint16Var(&o.apiPort, "api-port", 0,
		"`port` of the API server on 127.0.0.1; 0 chooses a free one and keeps it for the next start")
	flags.StringVar(&o.podListen, "pod-listen", "",
		"further `address` (IP:PORT) of the API server, for pods; it need not be on an interface yet")
	flags.StringVar(&o.serviceCIDR, "service-cidr", "10.96.0.0/16", "`range` of Service addresses; fixed by the first start")
	flags.StringVar(&o.nodeName, "node-name", "vic-local", "`name` of the node that gets credentials")
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "`file` for the administrator's kubeconfig (default DIR/admin.kubeconfig)")
	flags.StringVar(&o.logFile, "log-file", "", "`file` for the components' logs (default DIR/controlplane.log)")
}

// config checks the flags before anything is touched.
func (o *runOptions) config() (*runConfig, error) {
	c := &runConfig{apiPort: int(o.apiPort), nodeName: o.nodeName}
	var err error
	if c.dir, err = filepath.Abs(o.dir); err != nil {
		return nil, misuse("dir", "%w", err)
	}
	if c.podListen, err = parsePodListen(o.podListen); err != nil {
		return nil, err
	}
	if c.serviceCIDR, err = parseServiceCIDR(o.serviceCIDR); err != nil {
		return nil, err
	}
	if problems := validation.IsDNS1123Subdomain(o.nodeName); len(problems) > 0 {
		return nil, misuse("node-name", "%q is not a node name: %s", o.nodeName, problems[0])
	}
	if c.kubeconfig, err = c.file("kubeconfig", o.kubeconfig, "admin.kubeconfig"); err != nil {
		return nil, err
	}
	c.logFile, err = c.file("log-file", o.logFile, "controlplane.log")
	return c, err
}

// file returns the absolute path of a file that is to be written, whose directory must be there unless it is ours.
func (c *runConfig) file(flag, path, inDir string) (string, error) {
	if path == "" {
		return filepath.Join(c.dir, inDir), nil
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", misuse(flag, "%w", err)
	}
	if parent := filepath.Dir(abs); parent != c.dir {
		if info, err := os.Stat(parent); err != nil || !info.IsDir() {
			return "", misuse(flag, "%s is not a directory", parent)
		}
	}
	return abs, nil
}

func parsePodListen(value string) (netip.AddrPort, error) {
	if value == "" {
		return netip.AddrPort{}, nil
	}
	address, err := netip.ParseAddrPort(value)
	if err != nil {
		return netip.AddrPort{}, misuse("pod-listen", "%q is not IP:PORT", value)
	}
	if address.Addr().IsUnspecified() || address.Addr().IsMulticast() || address.Port() == 0 {
		return netip.AddrPort{}, misuse("pod-listen", "%q is not one address and port", value)
	}
	return address, nil
}

func parseServiceCIDR(value string) (netip.Prefix, error) {
	cidr, err := netip.ParsePrefix(value)
	if err != nil {
		return netip.Prefix{}, misuse("service-cidr", "%q is not a range of addresses", value)
	}
	if cidr != cidr.Masked() {
		return netip.Prefix{}, misuse("service-cidr", "%q has bits set behind its prefix; did you mean %s", value, cidr.Masked())
	}
	if bits := cidr.Addr().BitLen() - cidr.Bits(); bits < minServiceBits || bits > maxServiceBits {
		return netip.Prefix{}, misuse("service-cidr", "%q holds 2^%d addresses; from 2^%d to 2^%d are possible",
			value, bits, minServiceBits, maxServiceBits)
	}
	return cidr, nil
}
