package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/guest/oci"
	"github.com/virtual-kubelet/vic/guest/wire"
)

const localHosts = `127.0.0.1	localhost
::1	localhost ip6-localhost ip6-loopback
fe00::0	ip6-localnet
fe00::0	ip6-mcastprefix
fe00::1	ip6-allnodes
fe00::2	ip6-allrouters
`

// writeEtc writes the files in /etc that a pod's containers share, as the kubelet has them, to dir.
func writeEtc(dir string, pod wire.Pod) ([]oci.Bind, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil { // for every user of a container
		return nil, err
	}
	var binds []oci.Bind
	for _, f := range []struct{ name, content string }{
		{"hosts", hosts(pod)},
		{"hostname", pod.Hostname + "\n"},
		{"resolv.conf", resolvConf(pod.DNS)},
	} {
		path := filepath.Join(dir, f.name)
		if err := os.WriteFile(path, []byte(f.content), 0o644); err != nil { // for every user of a container
			return nil, fmt.Errorf("write %s: %w", path, err)
		}
		binds = append(binds, oci.Bind{Source: path, Target: "/etc/" + f.name})
	}
	return binds, nil
}

// hosts names localhost, the pod itself unless the host has done so, and what the host wants named.
func hosts(pod wire.Pod) string {
	var b strings.Builder
	b.WriteString("# Kubernetes-managed hosts file.\n" + localHosts)
	named := slices.ContainsFunc(pod.Hosts, func(h wire.Host) bool { return slices.Contains(h.Names, pod.Hostname) })
	if a := addresses(pod); !named && len(a) > 0 {
		fmt.Fprintf(&b, "%s\t%s\n", a[0], pod.Hostname)
	}
	for _, h := range pod.Hosts {
		fmt.Fprintf(&b, "%s\t%s\n", h.IP, strings.Join(h.Names, " "))
	}
	return b.String()
}

func resolvConf(dns wire.DNS) string {
	var b strings.Builder
	if len(dns.Searches) > 0 {
		fmt.Fprintf(&b, "search %s\n", strings.Join(dns.Searches, " "))
	}
	for _, ns := range dns.Nameservers {
		fmt.Fprintf(&b, "nameserver %s\n", ns)
	}
	if len(dns.Options) > 0 {
		fmt.Fprintf(&b, "options %s\n", strings.Join(dns.Options, " "))
	}
	return b.String()
}

// mountShm makes the shared memory that all containers of the pod see.
func (s *system) mountShm() (oci.Bind, error) {
	dir := filepath.Join(runDir, "shm")
	bind := oci.Bind{Source: dir, Target: "/dev/shm"}
	if s.steps.shm {
		return bind, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { // a mount point
		return bind, err
	}
	err := unix.Mount("shm", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, fmt.Sprintf("mode=1777,size=%d", shmBytes))
	if err != nil {
		return bind, fmt.Errorf("mount shared memory: %w", err)
	}
	s.steps.shm = true
	return bind, nil
}
