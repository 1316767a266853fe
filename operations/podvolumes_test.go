package operations_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/operations/volumes"
	"github.com/virtual-kubelet/vic/portlayer"
)

const otherUID = "uid-2"

// withClaim gives the pod a volume that is a claim.
func withClaim(p *corev1.Pod, claims ...string) *corev1.Pod {
	for _, c := range claims {
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: c, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: c},
		}})
		p.Spec.Containers[0].VolumeMounts = append(p.Spec.Containers[0].VolumeMounts, corev1.VolumeMount{Name: c, MountPath: "/" + c})
	}
	return p
}

// other is p as another pod.
func other(p *corev1.Pod) *corev1.Pod {
	p = p.DeepCopy()
	p.Name, p.UID = "other", otherUID
	return p
}

func (n *node) disk(claim string) {
	n.hv.AddVolume("disk-of-" + claim)
	n.volumes.bind(claim, volumes.Disk{Volume: "disk-of-" + claim, PersistentVolume: "pv-" + claim})
}

func (n *node) phase(uid types.UID) corev1.PodPhase {
	e, ok := n.pods.Get(uid)
	if !ok {
		return ""
	}
	return e.Pod.Status.Phase
}

func (n *node) awaitVolumes(uid string, count int) {
	n.t.Helper()
	n.await(2*time.Minute, "volumes of "+uid, func() bool {
		vms, err := n.hv.List(n.t.Context())
		require.NoError(n.t, err)
		for _, vm := range vms {
			if vm.ID() == uid {
				return len(vm.Spec.Volumes()) == count
			}
		}
		return count == 0
	})
}

func TestClaimsAreDisksOfTheVM(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.disk("data")
		n.manager.Sync(withClaim(pod(corev1.RestartPolicyAlways, "sleep 10000"), "data"))
		n.awaitPhase(corev1.PodRunning)
		vm, _ := n.vm()
		disks := vm.Spec.Volumes()
		require.Len(t, disks, 1)
		assert.Equal(t, "disk-of-data", disks[0].Volume)
		assert.Equal(t, []wire.Volume{{Name: "data", Kind: wire.VolumeDisk, Disk: disks[0].Serial}}, n.hv.Guest(uid).Pod().Volumes)
		assert.Equal(t, 1, n.events.Count(`Normal SuccessfulAttachVolume AttachVolume.Attach succeeded for volume "pv-data"`), n.events)
		calls := n.hv.Calls()
		assert.Less(t, slices.Index(calls, "Update"), slices.Index(calls, "PowerOn"), "it is attached before the VM is started")
		assert.Zero(t, n.events.Count("Warning"), n.events)

		n.restart(withClaim(pod(corev1.RestartPolicyAlways, "sleep 10000"), "data"))
		n.hv.Kill(uid, "signal: killed")
		n.await(2*time.Minute, "running again", func() bool { return n.container().RestartCount == 1 && n.container().State.Running != nil })
		n.hv.Vanish(uid)
		n.await(2*time.Minute, "running in another VM", func() bool { return n.container().RestartCount == 2 && n.container().State.Running != nil })
		n.awaitVolumes(uid, 1)
	})
}

func TestAPodWaitsForItsClaim(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.manager.Sync(withClaim(pod(corev1.RestartPolicyAlways, "sleep 10000"), "data"))
		n.await(time.Minute, "event", func() bool { return n.events.Count("Warning FailedMount PVC is not bound") > 0 })
		sleep(10 * time.Minute)
		assert.Equal(t, corev1.PodPending, n.status().Phase)
		require.NotNil(t, n.container().State.Waiting)
		assert.Equal(t, "ContainerCreating", n.container().State.Waiting.Reason)
		assert.Zero(t, n.count("PowerOn"))
		assert.Equal(t, 1, n.count("Create"), "its VM is made once")

		n.volumes.bind("data", volumes.Disk{Volume: "disk-of-data", PersistentVolume: "pv-data", Leaving: true})
		n.await(2*time.Minute, "event", func() bool {
			return n.events.Count(`Warning FailedMount Unable to attach or mount volume "data": PVC default/data is being deleted`) > 0
		})
		n.volumes.bind("data", volumes.Disk{Volume: "disk-of-data", PersistentVolume: "pv-data"})
		n.await(2*time.Minute, "event", func() bool {
			return n.events.Count(`Warning FailedAttachVolume AttachVolume.Attach failed for volume "pv-data": `) > 0
		})
		n.disk("data")
		n.await(2*time.Minute, "running", func() bool { return n.status().Phase == corev1.PodRunning })
	})
}

func TestADiskIsInOnePodAtATime(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.disk("data")
		first := withClaim(pod(corev1.RestartPolicyAlways, "sleep 10000"), "data")
		n.manager.Sync(first)
		n.awaitPhase(corev1.PodRunning)
		n.manager.Sync(other(first))
		n.await(time.Minute, "event", func() bool {
			return n.events.Count(`Warning FailedAttachVolume Multi-Attach error for volume "pv-data": `) > 0
		})
		sleep(10 * time.Minute)
		assert.Equal(t, corev1.PodPending, n.phase(otherUID))

		n.manager.Sync(deleted(first, 1))
		n.await(time.Minute, "first VM is gone", func() bool { _, ok := n.vm(); return !ok })
		gone := time.Now()
		n.await(time.Minute, "the other runs", func() bool { return n.phase(otherUID) == corev1.PodRunning })
		assert.Less(t, time.Since(gone), 10*time.Second, "it does not wait for its next try")
	})
}

func TestAFinishedPodGivesItsDiskBack(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.disk("data")
		first := withClaim(pod(corev1.RestartPolicyNever, "echo done"), "data")
		n.manager.Sync(first)
		n.awaitPhase(corev1.PodSucceeded)
		n.awaitVolumes(uid, 0)
		vm, ok := n.vm()
		require.True(t, ok)
		assert.Equal(t, portlayer.StateStopped, vm.State)
		n.manager.Sync(other(first))
		n.await(time.Minute, "the other runs", func() bool { return n.phase(otherUID) == corev1.PodSucceeded })
	})
}

func TestClaimsThatOnlyTheOthersMountAreLeftAlone(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		p := withClaim(pod(corev1.RestartPolicyAlways, "sleep 10000"), "data")
		p.Spec.Containers[0].VolumeMounts = nil
		n.manager.Sync(p)
		n.awaitPhase(corev1.PodRunning)
		assert.Empty(t, n.hv.Guest(uid).Pod().Volumes)
		assert.Zero(t, n.events.Count("Warning"), n.events)
	})
}

func TestTwoVolumesOfOneClaimShareItsDisk(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.disk("data")
		p := withClaim(pod(corev1.RestartPolicyAlways, "sleep 10000"), "data", "again")
		p.Spec.Volumes[1].PersistentVolumeClaim = &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data", ReadOnly: true}
		n.manager.Sync(p)
		n.awaitPhase(corev1.PodRunning)
		n.awaitVolumes(uid, 1)
		all := n.hv.Guest(uid).Pod().Volumes
		require.Len(t, all, 2)
		assert.Equal(t, all[0].Disk, all[1].Disk)
		assert.False(t, all[0].ReadOnly)
		assert.False(t, all[1].ReadOnly, "the disk is mounted once, and the container's mount is read only")
	})
}

func TestAClaimMayBeADevice(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.hv.AddVolume("disk-of-data")
		n.volumes.bind("data", volumes.Disk{Volume: "disk-of-data", PersistentVolume: "pv-data", Block: true})
		p := withClaim(pod(corev1.RestartPolicyAlways, "sleep 10000"), "data")
		p.Spec.Containers[0].VolumeMounts = nil
		p.Spec.Containers[0].VolumeDevices = []corev1.VolumeDevice{{Name: "data", DevicePath: "/dev/data"}}
		n.manager.Sync(p)
		n.awaitPhase(corev1.PodRunning)
		all := n.hv.Guest(uid).Pod().Volumes
		require.Len(t, all, 1)
		assert.Equal(t, wire.VolumeDevice, all[0].Kind)
		assert.NotEmpty(t, all[0].Disk)
	})
}
