//go:build e2e

package e2e_test

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

// vch runs `vic vch` with the node's configuration.
func (m *member) vch(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), bin("vic"), append(append([]string{"vch"}, args...), "--config", m.config)...)
	cmd.Env = append(cmd.Environ(), m.env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestPodsOnVSphere has pods run as VMs of a vCenter: made there by its API, booted from the ISO in its datastore, their disks
// on pvscsi, and their guests dialing in.
func TestPodsOnVSphere(t *testing.T) {
	t.Parallel()
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
	out, err = m.vch(t, "ls")
	require.NoError(t, err, out)
	assert.Regexp(t, `(?m)^vsphere +\S+ +\d+m? +4Gi +[\d.]+Gi +[\d.]+Gi +2 +2 +ok$`, out)
	out, err = m.vch(t, "inspect")
	require.NoError(t, err, out)
	assert.Regexp(t, `(?m)^Resource pool: +/DC0/host/DC0_C0/Resources/vic$`, out)
	assert.Contains(t, out, server.Status.PodIP)
	for _, p := range []*corev1.Pod{server, counter} {
		m.delete(t, p)
	}
	v.waitVMs(t, m.cluster, ns, 0)
	out, err = m.vch(t, "rm")
	require.Error(t, err)
	assert.Contains(t, out, "stop the node first")
	m.kill()
	out, err = m.vch(t, "rm")
	require.NoError(t, err, out)
	assert.Contains(t, out, "removed: VM folder /DC0/vm/vic\n")
}
