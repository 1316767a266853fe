//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtual-kubelet/vic/portlayer/vsphere"
)

// claim makes a claim that is bound to a first-class disk of the vCenter, as the vSphere CSI driver and the cluster do it.
func (v *simulation) claim(t *testing.T, c *cluster, ns, name string) (disk string) {
	t.Helper()
	disk, err := v.MakeDisk(t.Context(), name, 64)
	require.NoError(t, err)
	size, mode := resource.MustParse("64Mi"), []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
	volume, err := c.client.CoreV1().PersistentVolumes().Create(t.Context(), &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: ns + "-" + name},
		Spec: corev1.PersistentVolumeSpec{
			Capacity: corev1.ResourceList{corev1.ResourceStorage: size}, AccessModes: mode,
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			ClaimRef:                      &corev1.ObjectReference{Namespace: ns, Name: name},
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				CSI: &corev1.CSIPersistentVolumeSource{Driver: vsphere.VolumeDriver, VolumeHandle: disk, FSType: "ext4"},
			},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, c.client.CoreV1().PersistentVolumes().Delete(context.Background(), volume.Name, metav1.DeleteOptions{}))
	})
	_, err = c.client.CoreV1().PersistentVolumeClaims(ns).Create(t.Context(), &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PersistentVolumeClaimSpec{
			VolumeName: volume.Name, StorageClassName: new(""), AccessModes: mode,
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: size}},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	return disk
}

// withClaim mounts a claim at /data for a user that is not root.
func withClaim(name string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: new(int64(1000)), FSGroup: new(int64(4242))}
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name},
		}})
		p.Spec.Containers[0].VolumeMounts = append(p.Spec.Containers[0].VolumeMounts, corev1.VolumeMount{Name: name, MountPath: "/data"})
	}
}

// waitEvent waits for an event of the pod.
func (m *member) waitEvent(t *testing.T, p *corev1.Pod, reason string) string {
	t.Helper()
	var message string
	m.eventually(t, p.Name+" has event "+reason, func(ctx context.Context) (bool, string) {
		events, err := m.client.CoreV1().Events(p.Namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.uid=" + string(p.UID)})
		require.NoError(t, err)
		var seen []string
		for _, e := range events.Items {
			if e.Reason == reason {
				message = e.Message
				return true, ""
			}
			seen = append(seen, e.Reason+": "+e.Message)
		}
		return false, fmt.Sprintf("%q", seen)
	})
	return message
}

// TestPersistentVolumesOnVSphere has a disk move from pod to pod, and from VM to VM, with what is on it.
func TestPersistentVolumesOnVSphere(t *testing.T) {
	t.Parallel()
	v := startVCenter(t)
	m := enlist(t, "volumes", t.TempDir(), v.settings(t)...)
	shared.nodeCredential(t, m.name, m.credential)
	out, err := m.vch(t, "create", "--boot-iso", bin("guest/boot.iso"))
	require.NoError(t, err, out)
	m.importImage(t)
	m.begin(t)
	shared.approve(t, m.name)

	ns := shared.namespace(t)
	disk := v.claim(t, m.cluster, ns, "data")
	script := "[ -e /data/file ] || echo written by $HOSTNAME > /data/file; " + sleepForever
	first := m.waitReady(t, m.create(t, m.pod(ns, "first", script, withClaim("data"))))
	m.waitEvent(t, first, "SuccessfulAttachVolume")
	attachments, err := m.client.StorageV1().VolumeAttachments().List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	assert.Empty(t, attachments.Items, "the cluster attaches nothing to this node: we do")
	content := func(pod string) string { return m.kubectl(t, "-n", ns, "exec", pod, "--", "cat", "/data/file") }
	assert.Equal(t, "written by first\n", content("first"))
	assert.Equal(t, "4242\n", m.kubectl(t, "-n", ns, "exec", "first", "--", "stat", "-c", "%g", "/data/file"))

	t.Run("a VM that is destroyed by hand takes no volume with it", func(t *testing.T) {
		m.kubectl(t, "-n", ns, "exec", "first", "--", "sync")
		require.NoError(t, v.Destroy(t.Context(), v.waitVMs(t, m.cluster, ns, 1)["first"]))
		require.True(t, v.HasDisk(disk))
		m.waitPod(t, first, "runs again", func(p *corev1.Pod) bool { return ready(p) && restarts(p) == 1 })
		assert.Equal(t, "written by first\n", content("first"))
	})
	t.Run("the next pod waits for the first, and finds what it wrote", func(t *testing.T) {
		second := m.create(t, m.pod(ns, "second", script, withClaim("data")))
		assert.Contains(t, m.waitEvent(t, second, "FailedAttachVolume"), `Multi-Attach error for volume "`+ns+`-data": `)
		assert.False(t, ready(m.waitPhase(t, second, corev1.PodPending)))
		m.delete(t, first)
		second = m.waitReady(t, second)
		assert.Equal(t, "written by first\n", content("second"))
		m.delete(t, second)
	})
	v.waitVMs(t, m.cluster, ns, 0)
	require.True(t, v.HasDisk(disk))
}

// withSettings mounts the config map settings.
func withSettings(p *corev1.Pod) {
	p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "settings", VolumeSource: corev1.VolumeSource{
		ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}},
	}})
	p.Spec.Containers[0].VolumeMounts = append(p.Spec.Containers[0].VolumeMounts, corev1.VolumeMount{Name: "settings", MountPath: "/etc/settings"})
}
