package volumes_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/virtual-kubelet/vic/operations/volumes"
)

const driver = "csi.vsphere.vmware.com"

// bind has claim "data" bound to volume "pv-1" of the driver.
func bind(o *objects) (*corev1.PersistentVolumeClaim, *corev1.PersistentVolume) {
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "data", UID: "claim-1"},
		Spec:       corev1.PersistentVolumeClaimSpec{VolumeName: "pv-1"},
		Status:     corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound},
	}
	volume := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "pv-1"},
		Spec: corev1.PersistentVolumeSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			ClaimRef:    &corev1.ObjectReference{UID: "claim-1"},
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				CSI: &corev1.CSIPersistentVolumeSource{Driver: driver, VolumeHandle: "disk-1", FSType: "ext4"},
			},
		},
	}
	o.claims = map[string]*corev1.PersistentVolumeClaim{"data": claim}
	o.volumes = map[string]*corev1.PersistentVolume{"pv-1": volume}
	return claim, volume
}

func claimed(readOnly bool) *corev1.Volume {
	return &corev1.Volume{Name: "v", VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data", ReadOnly: readOnly},
	}}
}

func TestDiskOfAClaim(t *testing.T) {
	tests := map[string]struct {
		change   func(*corev1.PersistentVolumeClaim, *corev1.PersistentVolume)
		readOnly bool
		want     volumes.Disk
	}{
		"a bound one": {want: volumes.Disk{Volume: "disk-1", PersistentVolume: "pv-1"}},
		"one that the pod only reads": {
			readOnly: true, want: volumes.Disk{Volume: "disk-1", PersistentVolume: "pv-1", ReadOnly: true},
		},
		"one that all may only read": {
			change: func(_ *corev1.PersistentVolumeClaim, v *corev1.PersistentVolume) {
				v.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadOnlyMany}
			},
			want: volumes.Disk{Volume: "disk-1", PersistentVolume: "pv-1", ReadOnly: true},
		},
		"one that is being deleted": {
			change: func(c *corev1.PersistentVolumeClaim, _ *corev1.PersistentVolume) {
				c.DeletionTimestamp = &metav1.Time{}
			},
			want: volumes.Disk{Volume: "disk-1", PersistentVolume: "pv-1", Leaving: true},
		},
		"one for one pod, without a type of file system": {
			change: func(_ *corev1.PersistentVolumeClaim, v *corev1.PersistentVolume) {
				v.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOncePod}
				v.Spec.CSI.FSType = ""
				v.Spec.VolumeMode = new(corev1.PersistentVolumeFilesystem)
			},
			want: volumes.Disk{Volume: "disk-1", PersistentVolume: "pv-1"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := newObjects()
			claim, volume := bind(o)
			if tt.change != nil {
				tt.change(claim, volume)
			}
			got, err := volumes.New(volumes.Config{Objects: o}).Disk(t.Context(), pod, claimed(tt.readOnly), driver)
			require.NoError(t, err)
			assert.Equal(t, tt.want, got)
		})
	}
}

func TestClaimsThatStandForNoDisk(t *testing.T) {
	type claim = corev1.PersistentVolumeClaim
	type volume = corev1.PersistentVolume
	tests := map[string]struct {
		change func(*objects, *claim, *volume)
		want   string
	}{
		"a missing claim":          {func(o *objects, _ *claim, _ *volume) { o.claims = nil }, "persistentvolumeclaim not found"},
		"a missing volume":         {func(o *objects, _ *claim, _ *volume) { o.volumes = nil }, `persistentvolume "pv-1" not found`},
		"a pending claim":          {func(_ *objects, c *claim, _ *volume) { c.Status.Phase = corev1.ClaimPending }, "PVC is not bound"},
		"a claim without a volume": {func(_ *objects, c *claim, _ *volume) { c.Spec.VolumeName = "" }, "PVC is not bound"},
		"a lost claim":             {func(_ *objects, c *claim, _ *volume) { c.Status.Phase = corev1.ClaimLost }, "PVC has lost its volume"},
		"another's volume": {
			func(_ *objects, _ *claim, v *volume) { v.Spec.ClaimRef.UID = "claim-2" }, "bound to another claim",
		},
		"another driver's volume": {
			func(_ *objects, _ *claim, v *volume) { v.Spec.CSI.Driver = "nfs.csi.k8s.io" }, "is not a volume of the CSI driver " + driver,
		},
		"a volume without a driver": {func(_ *objects, _ *claim, v *volume) { v.Spec.CSI = nil }, "is not a volume of the CSI driver"},
		"a volume for many": {
			func(_ *objects, _ *claim, v *volume) {
				v.Spec.AccessModes = append(v.Spec.AccessModes, corev1.ReadWriteMany)
			}, "ReadWriteMany",
		},
		"another file system": {func(_ *objects, _ *claim, v *volume) { v.Spec.CSI.FSType = "xfs" }, "fsType xfs"},
		"mount options":       {func(_ *objects, _ *claim, v *volume) { v.Spec.MountOptions = []string{"discard"} }, "mountOptions"},
		"an API server that is away": {
			func(o *objects, _ *claim, _ *volume) { o.err = errors.New("connection refused") }, "connection refused",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := newObjects()
			c, v := bind(o)
			tt.change(o, c, v)
			_, err := volumes.New(volumes.Config{Objects: o}).Disk(t.Context(), pod, claimed(false), driver)
			var mount *volumes.MountError
			require.ErrorAs(t, err, &mount)
			assert.Equal(t, volumes.ReasonFailedMount, mount.Reason)
			assert.Contains(t, err.Error(), `Unable to attach or mount volume "v": error processing PVC shop/data: `)
			assert.Contains(t, err.Error(), tt.want)
		})
	}
}

func TestClaimThatIsMadeForAPod(t *testing.T) {
	v := &corev1.Volume{Name: "v", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}}
	for owner, fine := range map[types.UID]bool{pod.UID: true, "another": false} {
		o := newObjects()
		claim, _ := bind(o)
		claim.OwnerReferences = []metav1.OwnerReference{{UID: owner, Controller: new(true)}}
		o.claims = map[string]*corev1.PersistentVolumeClaim{"web-v": claim}
		got, err := volumes.New(volumes.Config{Objects: o}).Disk(t.Context(), pod, v, driver)
		if !fine {
			require.ErrorContains(t, err, "PVC was not created for pod")
			continue
		}
		require.NoError(t, err)
		require.Equal(t, "disk-1", got.Volume)
	}
}

func TestAVolumeIsUsedAsWhatItIs(t *testing.T) {
	mount, device := pod.DeepCopy(), pod.DeepCopy()
	mount.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/v"}}
	device.Spec.Containers[0].VolumeDevices = []corev1.VolumeDevice{{Name: "v", DevicePath: "/dev/v"}}
	for mode, fits := range map[corev1.PersistentVolumeMode]*corev1.Pod{
		corev1.PersistentVolumeFilesystem: mount, corev1.PersistentVolumeBlock: device,
	} {
		o := newObjects()
		_, volume := bind(o)
		volume.Spec.VolumeMode = &mode
		for _, p := range []*corev1.Pod{mount, device} {
			got, err := volumes.New(volumes.Config{Objects: o}).Disk(t.Context(), p, claimed(false), driver)
			if p == fits {
				require.NoError(t, err)
				require.Equal(t, mode == corev1.PersistentVolumeBlock, got.Block)
				continue
			}
			require.ErrorContains(t, err, "it has volumeMode "+string(mode)+", but is specified in volume")
		}
	}
}
