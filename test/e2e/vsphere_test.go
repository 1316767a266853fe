//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/portlayer/qemu"
	"github.com/virtual-kubelet/vic/portlayer/qemu/network"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/simulated"
)

// vcenter is a simulated vCenter whose VMs run, on a network of this machine.
type vcenter struct {
	*simulated.VCenter
	network *network.Network
}

func startVCenter(t *testing.T) *vcenter {
	t.Helper()
	dir := t.TempDir()
	n, err := network.Open(t.Context(), network.Config{Dir: dir, UplinkNAT: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.Down(context.Background())) })
	vc, err := simulated.Start(t.Context(), simulated.Config{Dir: dir, Accel: qemu.Accel(shared.accel(t)), Network: simulated.Taps{Network: n}})
	require.NoError(t, err)
	t.Cleanup(vc.Close)
	return &vcenter{vc, n}
}

// settings are a node's whose pods run there.
func (v *vcenter) settings(t *testing.T) []string {
	t.Helper()
	to, guests := v.Target(), netip.AddrPortFrom(v.network.Gateway(), uint16(freePort(t)))
	return []string{
		fmt.Sprintf("subnet: %s", v.network.Subnet()),
		"vsphere:",
		"  address: " + to.Address,
		"  user: " + to.User,
		"  passwordFile: " + to.PasswordFile,
		"  caFile: " + to.CAFile,
		"  pool: /DC0/host/DC0_C0/Resources/vic",
		"  folder: /DC0/vm/vic",
		"  bootISO: " + fmt.Sprintf("%q", "[LocalDS_0] isos/boot.iso"),
		"  network: " + simulated.PortGroup,
		fmt.Sprintf("  gateway: %s", v.network.Gateway()),
		fmt.Sprintf("  guestListen: %q", guests),
		fmt.Sprintf("  advertiseAddresses: [%q]", guests),
	}
}

// waitVMs waits until as many pods of a namespace have a VM, and returns their instance UUIDs by name.
func (v *vcenter) waitVMs(t *testing.T, c *cluster, ns string, count int) map[string]string {
	t.Helper()
	var of map[string]string
	c.eventually(t, fmt.Sprintf("%d VMs of %s", count, ns), func(ctx context.Context) (bool, string) {
		all, err := v.VMs(ctx)
		require.NoError(t, err)
		of = map[string]string{}
		for name, uuid := range all {
			if rest, ok := strings.CutPrefix(name, ns+"-"); ok {
				of[rest[:strings.LastIndexByte(rest, '-')]] = uuid
			}
		}
		return len(of) == count, fmt.Sprint(all)
	})
	return of
}

// vch runs `vic vch` with the node's configuration.
func (m *member) vch(t *testing.T, args ...string) (string, error) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), bin("vic"), append(append([]string{"vch"}, args...), "--config", m.config)...).CombinedOutput()
	return string(out), err
}

// TestPodsOnVSphere has pods run as VMs of a vCenter: made there by its API, booted from the ISO in its datastore, their disks
// on pvscsi, and their guests dialing in.
func TestPodsOnVSphere(t *testing.T) {
	v := startVCenter(t)
	m := enlist(t, "vsphere", t.TempDir(), v.settings(t)...)
	shared.nodeCredential(t, m.name, m.credential)

	out, err := m.vch(t, "check")
	require.Error(t, err)
	for _, missing := range []string{"resource pool", "VM folder", "boot ISO"} {
		assert.Regexp(t, "(?m)^WRONG +"+missing, out)
	}
	iso := []string{"create", "--boot-iso", bin("guest/boot.iso"), "--memory-limit", "4Gi"}
	out, err = m.vch(t, append(iso, "--dry-run")...)
	require.NoError(t, err, out)
	assert.Contains(t, out, "would make: VM folder /DC0/vm/vic\n")
	out, err = m.vch(t, iso...)
	require.NoError(t, err, out)
	assert.Contains(t, out, "made: resource pool /DC0/host/DC0_C0/Resources/vic\n")
	out, err = m.vch(t, "check")
	require.NoError(t, err, out)

	m.importImage(t)
	m.begin(t)
	shared.approve(t, m.name)
	node := m.object(t)
	assert.Equal(t, "vic-vsphere", node.Labels[corev1.LabelInstanceTypeStable])
	memory := node.Status.Capacity[corev1.ResourceMemory]
	assert.EqualValues(t, 4<<30, memory.Value(), "the pool's limit")

	ns := shared.namespace(t)
	shared.kubectl(t, "-n", ns, "create", "configmap", "settings", "--from-literal=colour=green")
	server := m.create(t, m.pod(ns, "server", "exec /testpod serve :8000"))
	counter := m.create(t, m.pod(ns, "counter", countLines, withSettings))
	server, counter = m.waitReady(t, server), m.waitReady(t, counter)
	vms := v.waitVMs(t, m.cluster, ns, 2)
	require.Contains(t, vms, "server")
	require.Contains(t, vms, "counter")

	t.Run("kubectl works as on any node", func(t *testing.T) {
		assert.Equal(t, "green", m.kubectl(t, "-n", ns, "exec", "counter", "--", "cat", "/etc/settings/colour"))
		got := m.kubectl(t, "-n", ns, "exec", "counter", "--", "wget", "-q", "-O", "-", "http://"+server.Status.PodIP+":8000/env")
		assert.Contains(t, got, "HOSTNAME=server")
		for _, driver := range []string{"vmxnet3", "vmw_pvscsi"} {
			assert.Contains(t, m.kubectl(t, "-n", ns, "exec", "counter", "--", "ls", "/sys/bus/pci/drivers/"+driver), "0000:", driver)
		}
	})
	t.Run("vic is killed and finds its pods as they were", func(t *testing.T) {
		m.kill()
		m.begin(t)
		m.requireCounts(t, counter, 100)
		assert.Zero(t, restarts(m.waitReady(t, counter)))
		assert.Equal(t, "alive\n", m.kubectl(t, "-n", ns, "exec", "server", "--", "echo", "alive"))
	})
	t.Run("a VM that vSphere starts again joins again", func(t *testing.T) {
		require.NoError(t, v.Restart(t.Context(), vms["server"]))
		m.waitPod(t, server, "runs again", func(p *corev1.Pod) bool { return ready(p) && restarts(p) == 1 })
		assert.Equal(t, "alive\n", m.kubectl(t, "-n", ns, "exec", "server", "--", "echo", "alive"))
		assert.Zero(t, restarts(m.waitReady(t, counter)))
	})
	t.Run("a guest that reboots ends its VM, and the pod restarts", func(t *testing.T) {
		rebooter := m.waitReady(t, m.create(t, m.pod(ns, "rebooter", "[ -e /data/done ] || { touch /data/done; sync; echo b > /proc/sysrq-trigger; }; "+sleepForever, func(p *corev1.Pod) {
			p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: new(true)}
			p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
			p.Spec.Containers[0].VolumeMounts = append(p.Spec.Containers[0].VolumeMounts, corev1.VolumeMount{Name: "data", MountPath: "/data"})
		})))
		m.waitPod(t, rebooter, "runs again", func(p *corev1.Pod) bool { return ready(p) && restarts(p) == 1 })
		m.delete(t, rebooter)
	})
	for _, p := range []*corev1.Pod{server, counter} {
		m.delete(t, p)
	}
	v.waitVMs(t, m.cluster, ns, 0)
	out, err = m.vch(t, "rm")
	require.NoError(t, err, out)
	assert.Contains(t, out, "removed: VM folder /DC0/vm/vic\n")
}
