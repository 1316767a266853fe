package fields

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/portlayer"
)

// Reasons that several rows share.
const (
	whyOneContainer = "only one container a pod runs here for now"
	whyOwnVM        = "a pod runs in a VM of its own and shares nothing with the node"
	whyNotYet       = "not supported by this version"
	byScheduler     = "the scheduler acts on it"
)

func podRows() []row {
	return append([]row{
		within("volumes"),
		no("initContainers", "init containers are not supported by this version: "+whyOneContainer),
		{
			path: "containers", verdict: parts, note: "exactly one", most: 1, beyond: whyOneContainer,
		},
		no("ephemeralContainers", "ephemeral containers are not supported by this version; use kubectl exec"),
		yes("restartPolicy", "the guest restarts containers by itself, with the kubelet's back-off"),
		yes("terminationGracePeriodSeconds", ""),
		no("activeDeadlineSeconds", "deadlines of pods are not enforced by this version"),
		but("dnsPolicy", "name servers on the node's loopback are left out, since a VM can't reach them; ClusterFirstWithHostNet is ClusterFirst"),
		yes("dnsConfig", ""),
		yes("serviceAccountName", ""),
		yes("serviceAccount", "the former name of serviceAccountName"),
		yes("automountServiceAccountToken", "admission acts on it"),
		noBut("hostNetwork", whyOwnVM, false),
		noBut("hostPID", whyOwnVM, false),
		noBut("hostIPC", whyOwnVM, false),
		noBut("hostUsers", "user namespaces inside the VM are "+whyNotYet, true),
		noBut("shareProcessNamespace", "a process namespace for the whole pod is "+whyNotYet, false),
		within("securityContext"),
		no("imagePullSecrets", "registries that need credentials are "+whyNotYet),
		yes("hostname", ""),
		{
			path: "subdomain", verdict: honoured, note: "the complete name stands in /etc/hosts",
			needs:  func(c portlayer.Capabilities) bool { return c.PodNetwork },
			unless: "this host gives pods no address that others reach, so a name in the cluster leads nowhere",
		},
		noBut("setHostnameAsFQDN", "the complete name as host name is "+whyNotYet, false),
		no("hostnameOverride", whyNotYet),
		yes("hostAliases", ""),
		yes("enableServiceLinks", ""),
		yes("readinessGates", ""),
		no("runtimeClassName", "there is one runtime here, the pod's own VM: leave the field out"),
		only("os", "", "containers run on Linux", corev1.PodOS{Name: corev1.Linux}),
		no("resourceClaims", "devices are "+whyNotYet),
		no("resources", "resources of a pod as a whole are "+whyNotYet+"; give them to its container"),
	}, schedulerRows()...)
}

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
		no("supplementalGroups", "further groups are "+whyNotYet+"; the image's own /etc/group is honoured"),
		noBut("supplementalGroupsPolicy", "groups of the image always count", corev1.SupplementalGroupsPolicyMerge),
		no("fsGroup", "a group that owns volumes is "+whyNotYet),
		no("fsGroupChangePolicy", "a group that owns volumes is "+whyNotYet),
		no("sysctls", "kernel parameters of a pod are "+whyNotYet),
		noBut("seccompProfile", "seccomp profiles are "+whyNotYet, unconfinedSeccomp),
		noBut("appArmorProfile", "the VM's kernel has no AppArmor", unconfinedAppArmor),
		noBut("seLinuxOptions", "the VM's kernel has no SELinux", corev1.SELinuxOptions{}),
		no("seLinuxChangePolicy", "the VM's kernel has no SELinux"),
		no("windowsOptions", "containers run on Linux"),
	}
}
