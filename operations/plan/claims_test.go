package plan_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/operations/plan"
)

// claimant has claims "data" and "again" (read only) mounted, "raw" as a device, "own" made for it, and "unused" not at all.
func claimant() *corev1.Pod {
	claim := func(name string, readOnly bool) corev1.Volume {
		return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "claim-" + name, ReadOnly: readOnly},
		}}
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", UID: "u1"},
		Spec: corev1.PodSpec{
			SecurityContext: &corev1.PodSecurityContext{FSGroupChangePolicy: new(corev1.FSGroupChangeOnRootMismatch)},
			Containers: []corev1.Container{{
				Name:          "c",
				Command:       []string{"true"},
				VolumeMounts:  []corev1.VolumeMount{{Name: "data", MountPath: "/data"}, {Name: "again", MountPath: "/again"}, {Name: "own", MountPath: "/own"}},
				VolumeDevices: []corev1.VolumeDevice{{Name: "raw", DevicePath: "/dev/raw"}},
			}},
			Volumes: []corev1.Volume{
				claim("data", false), claim("again", true), claim("unused", false), claim("raw", false),
				{Name: "own", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}},
			},
		},
	}
}

func TestClaims(t *testing.T) {
	pod := claimant()
	var names []string
	for _, v := range plan.Claims(pod) {
		names = append(names, plan.ClaimName(pod, &v))
	}
	assert.Equal(t, []string{"claim-data", "claim-again", "claim-raw", "web-own"}, names)
	assert.Empty(t, plan.FileVolumes(pod), "the host delivers no files for them")
}

func TestDisksOfClaims(t *testing.T) {
	got, err := plan.Pod(claimant(), plan.PodInputs{Disks: map[string]plan.Disk{
		"data": {Serial: "vol-1"}, "again": {Serial: "vol-1", ReadOnly: true},
		"raw": {Serial: "vol-2", Block: true}, "own": {Serial: "vol-3", ReadOnly: true},
	}})
	require.NoError(t, err)
	assert.Equal(t, []wire.Volume{
		{Name: "data", Kind: wire.VolumeDisk, Disk: "vol-1"},
		{Name: "again", Kind: wire.VolumeDisk, Disk: "vol-1"}, // mounted once, and written by the other
		{Name: "raw", Kind: wire.VolumeDevice, Disk: "vol-2"},
		{Name: "own", Kind: wire.VolumeDisk, Disk: "vol-3", ReadOnly: true},
	}, got.Volumes)
	assert.True(t, got.FSGroupOnRootMismatch)
}

func TestClaimsInAContainer(t *testing.T) {
	pod := claimant()
	got, err := plan.Container(pod, plan.Members(pod)[0], plan.ContainerInputs{})
	require.NoError(t, err)
	assert.Equal(t, []wire.Mount{
		{Volume: "data", Path: "/data"}, {Volume: "again", Path: "/again", ReadOnly: true}, {Volume: "own", Path: "/own"},
	}, got.Mounts)
	assert.Equal(t, []wire.Device{{Volume: "raw", Path: "/dev/raw"}}, got.Devices)
}
