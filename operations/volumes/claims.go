package volumes

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtual-kubelet/vic/operations/plan"
)

// Disk is what a bound claim stands for.
type Disk struct {
	// Volume is the CSI driver's name for it, and PersistentVolume the cluster's.
	Volume, PersistentVolume string
	// ReadOnly is true when the pod, or the volume, wants nothing to be written to it.
	ReadOnly bool
	// Block is true when it is a device, and no file system.
	Block bool
	// Leaving is true when the claim is being deleted: no pod begins with it.
	Leaving bool
}

// Disk returns the disk of v, which is a claim, where that is bound to a volume of the driver. An error that the cluster may
// mend is a *MountError.
func (r *Resolver) Disk(ctx context.Context, pod *corev1.Pod, v *corev1.Volume, driver string) (Disk, error) {
	name := plan.ClaimName(pod, v)
	d, err := r.disk(ctx, pod, v, driver)
	if err == nil {
		return d, nil
	}
	if ctx.Err() != nil {
		return Disk{}, fmt.Errorf("read claim %s/%s: %w", pod.Namespace, name, err)
	}
	return Disk{}, &MountError{
		Reason:  ReasonFailedMount,
		Message: fmt.Sprintf("Unable to attach or mount volume %q: error processing PVC %s/%s: %v", v.Name, pod.Namespace, name, err),
		cause:   err,
	}
}

func (r *Resolver) disk(ctx context.Context, pod *corev1.Pod, v *corev1.Volume, driver string) (Disk, error) {
	claim, err := r.objects.PersistentVolumeClaim(ctx, pod.Namespace, plan.ClaimName(pod, v))
	if apierrors.IsNotFound(err) {
		return Disk{}, errors.New("persistentvolumeclaim not found")
	}
	if err != nil {
		return Disk{}, err
	}
	if v.Ephemeral != nil && !metav1.IsControlledBy(claim, pod) {
		return Disk{}, errors.New("PVC was not created for pod")
	}
	if err := bound(claim); err != nil {
		return Disk{}, err
	}
	volume, err := r.objects.PersistentVolume(ctx, claim.Spec.VolumeName)
	if apierrors.IsNotFound(err) {
		return Disk{}, fmt.Errorf("persistentvolume %q not found", claim.Spec.VolumeName)
	}
	if err != nil {
		return Disk{}, err
	}
	if ref := volume.Spec.ClaimRef; ref == nil || ref.UID != claim.UID {
		return Disk{}, fmt.Errorf("persistentvolume %q is bound to another claim", volume.Name)
	}
	d, err := diskOf(volume, driver)
	if err == nil {
		err = usedAs(pod, v.Name, d.Block)
	}
	d.ReadOnly = d.ReadOnly || v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ReadOnly
	d.Leaving = claim.DeletionTimestamp != nil
	return d, err
}

func bound(claim *corev1.PersistentVolumeClaim) error {
	switch {
	case claim.Status.Phase == corev1.ClaimLost:
		return errors.New("PVC has lost its volume")
	case claim.Spec.VolumeName == "" || claim.Status.Phase != corev1.ClaimBound:
		return errors.New("PVC is not bound")
	}
	return nil
}

// diskOf refuses volumes that are not disks for one VM.
func diskOf(volume *corev1.PersistentVolume, driver string) (Disk, error) {
	spec := &volume.Spec
	csi, block := spec.CSI, spec.VolumeMode != nil && *spec.VolumeMode == corev1.PersistentVolumeBlock
	switch {
	case csi == nil || csi.Driver != driver:
		return Disk{}, fmt.Errorf("persistentvolume %q is not a volume of the CSI driver %s, the only one whose volumes this node has", volume.Name, driver)
	case slices.Contains(spec.AccessModes, corev1.ReadWriteMany):
		return Disk{}, fmt.Errorf("persistentvolume %q is ReadWriteMany: a pod is a VM here, and a disk is in one VM at a time", volume.Name)
	case !block && csi.FSType != "" && csi.FSType != "ext4":
		return Disk{}, fmt.Errorf("persistentvolume %q has fsType %s: this node has ext4 only", volume.Name, csi.FSType)
	case len(spec.MountOptions) > 0:
		return Disk{}, fmt.Errorf("persistentvolume %q has mountOptions, which this node does not know: %s", volume.Name, spec.MountOptions)
	}
	onlyRead := len(spec.AccessModes) > 0 && !slices.ContainsFunc(spec.AccessModes, func(m corev1.PersistentVolumeAccessMode) bool {
		return m != corev1.ReadOnlyMany
	})
	return Disk{Volume: csi.VolumeHandle, PersistentVolume: volume.Name, ReadOnly: csi.ReadOnly || onlyRead, Block: block}, nil
}

// usedAs refuses to mount a device, and to use a file system as a device.
func usedAs(pod *corev1.Pod, volume string, block bool) error {
	for _, c := range plan.Members(pod) {
		mounted := slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == volume })
		device := slices.ContainsFunc(c.VolumeDevices, func(d corev1.VolumeDevice) bool { return d.Name == volume })
		switch {
		case mounted && block:
			return errors.New("it has volumeMode Block, but is specified in volumeMounts")
		case device && !block:
			return errors.New("it has volumeMode Filesystem, but is specified in volumeDevices")
		}
	}
	return nil
}
