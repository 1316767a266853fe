package fields

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/portlayer/podvm"
)

const whyVolume = "volumes of this kind are not supported by this version; there are emptyDir, configMap, secret, " +
	"downwardAPI, projected and, on vSphere, persistentVolumeClaim"

const whyNoDisks = "the VMs of this node have no persistent volumes; those on vSphere do"

// onDisks honours a field where VMs can have persistent volumes.
func onDisks(r row) row {
	r.needs, r.unless = func(c podvm.Capabilities) bool { return c.Volumes != "" }, whyNoDisks
	return r
}

func volumeRows() []row {
	rows := []row{
		yes("name", "a volume that no container mounts is not filled"),
		within("emptyDir"),
		only("emptyDir.medium", "", "huge pages are "+whyNotYet, corev1.StorageMediumDefault, corev1.StorageMediumMemory),
		but("emptyDir.sizeLimit", "in memory it is the volume's size, at most the containers' memory; on disk the size of the "+
			"pod's scratch disk bounds all such volumes together and nothing is evicted"),
		yes("emptyDir.mode", "fsGroup adds what the group may do"),
		but("configMap", "files belong to root, or to the user that `user` or `defaultUser` names, and to fsGroup; they follow the object within about a minute"),
		but("secret", "files have the owners that files of configMap have, and are in the VM's memory only; they follow the object within about a minute"),
		but("downwardAPI", "files have the owners that files of configMap have; a container without a limit shows the node's"),
		within("projected"),
		yes("projected.defaultMode", ""),
		yes("projected.defaultUser", ""),
		within("projected.sources"),
		but("projected.sources[].configMap", "as configMap"),
		but("projected.sources[].secret", "as secret"),
		but("projected.sources[].downwardAPI", "as downwardAPI"),
		but("projected.sources[].serviceAccountToken", "bound to the pod and renewed as by the kubelet; the file has the volume's "+
			"mode also where all containers run as one user, and 0600 where it has a `user`"),
		no("projected.sources[].clusterTrustBundle", "trust bundles are "+whyNotYet),
		no("projected.sources[].podCertificate", "certificates of pods are "+whyNotYet),
		onDisks(but("persistentVolumeClaim", "a claim that is bound to a disk of the vSphere CSI driver (csi.vsphere.vmware.com, of volumeMode "+
			"Block, or Filesystem with ext4, and not ReadWriteMany). The disk is in one pod's VM at a time, also where a node could share it: "+
			"another pod waits for it. An ephemeral container mounts it only if another container does")),
		onDisks(but("ephemeral", "as persistentVolumeClaim; the claim is made by the cluster")),
		no("hostPath", whyOwnVM),
		no("image", "images as volumes are "+whyNotYet),
	}
	for _, kind := range []string{
		"csi", "nfs", "iscsi", "fc", "rbd", "cephfs", "cinder", "glusterfs", "quobyte",
		"scaleIO", "storageos", "portworxVolume", "photonPersistentDisk", "vsphereVolume", "azureDisk", "azureFile",
		"awsElasticBlockStore", "gcePersistentDisk", "flexVolume", "flocker", "gitRepo",
	} {
		rows = append(rows, no(kind, whyVolume))
	}
	return rows
}
