package fields

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/portlayer/podvm"
)

// Reasons that several rows share.
const (
	whyOwnVM    = "a pod runs in a VM of its own and shares nothing with the node"
	whyNotYet   = "not supported by this version"
	byScheduler = "the scheduler acts on it"
)

func podRows() []row {
	return append([]row{
		within("volumes"),
		within("initContainers"),
		within("containers"),
		within("ephemeralContainers"),
		yes("ephemeralContainers[].targetContainerName", "the container waits until its target runs"),
		yes("restartPolicy", "the guest restarts containers by itself, with the kubelet's back-off"),
		yes("terminationGracePeriodSeconds", ""),
		but("activeDeadlineSeconds", "the guest ends the pod, also while the node is away; a change counts for the node at once, and for the "+
			"guest with the VM's next boot"),
		but("dnsPolicy", "name servers on the node's loopback are left out, since a VM can't reach them; ClusterFirstWithHostNet is ClusterFirst"),
		yes("dnsConfig", ""),
		yes("serviceAccountName", ""),
		yes("serviceAccount", "the former name of serviceAccountName"),
		yes("automountServiceAccountToken", "admission acts on it"),
		noBut("hostNetwork", whyOwnVM, false),
		noBut("hostPID", whyOwnVM, false),
		noBut("hostIPC", whyOwnVM, false),
		but("hostUsers", "root in a container is root in the pod's VM, also with `false`; it is not a user of the node"),
		yes("shareProcessNamespace", ""),
		within("securityContext"),
		yes("imagePullSecrets", ""),
		yes("hostname", ""),
		{
			path: "subdomain", verdict: honoured, note: "the complete name stands in /etc/hosts",
			needs:  func(c podvm.Capabilities) bool { return c.PodNetwork },
			unless: "this host gives pods no address that others reach, so a name in the cluster leads nowhere",
		},
		yes("setHostnameAsFQDN", "a complete name of more than 64 characters keeps the pod from starting"),
		yes("hostnameOverride", ""),
		yes("hostAliases", ""),
		yes("enableServiceLinks", ""),
		yes("readinessGates", ""),
		yes("evictionResponders", "the cluster's eviction controller acts on it"),
		no("runtimeClassName", "there is one runtime here, the pod's own VM: leave the field out"),
		only("os", "", "containers run on Linux", corev1.PodOS{Name: corev1.Linux}),
		no("resourceClaims", "devices are "+whyNotYet),
		within("resources"),
		within("resources.limits"),
		yes("resources.limits[cpu]", "the VM's processors"),
		yes("resources.limits[memory]", "the VM's memory, with an overhead added"),
		no("resources.limits[ephemeral-storage]", whyPodResource),
		no("resources.limits[*]", whyPodResource),
		within("resources.requests"),
		yes("resources.requests[cpu]", "counts as limit where there is none"),
		yes("resources.requests[memory]", "counts as limit where there is none"),
		no("resources.requests[ephemeral-storage]", whyPodResource),
		no("resources.requests[*]", whyPodResource),
		no("resources.claims", "devices are "+whyNotYet),
	}, schedulerRows()...)
}

const whyPodResource = "a pod as a whole has cpu and memory only"

func schedulerRows() []row {
	names := []string{
		"nodeName", "nodeSelector", "affinity", "tolerations", "topologySpreadConstraints", "schedulerName",
		"schedulingGates", "schedulingGroup", "priorityClassName", "priority", "preemptionPolicy", "overhead",
	}
	rows := make([]row, 0, len(names))
	for _, n := range names {
		rows = append(rows, yes(n, byScheduler))
	}
	return rows
}

func podSecurityRows() []row {
	return []row{
		yes("runAsUser", ""),
		yes("runAsGroup", ""),
		yes("runAsNonRoot", "checked before the container is made, as the kubelet does"),
		yes("supplementalGroups", ""),
		yes("supplementalGroupsPolicy", ""),
		yes("fsGroup", "owns what the pod's volumes hold, but for claims that are read only"),
		yes("fsGroupChangePolicy", "for claims; it has no effect on other volumes, as with a kubelet"),
		but("sysctls", "any, unsafe ones too: the kernel is the pod's own. A sysctl that the kernel does not have keeps the pod from starting"),
		seccompRow(),
		noBut("appArmorProfile", "the VM's kernel has no AppArmor", unconfinedAppArmor),
		noBut("seLinuxOptions", "the VM's kernel has no SELinux", corev1.SELinuxOptions{}),
		no("seLinuxChangePolicy", "the VM's kernel has no SELinux"),
		no("windowsOptions", "containers run on Linux"),
	}
}
