package fields

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// minMemory is the least memory limit of a container: with less, the runtime itself is killed before the container's
// process runs.
const minMemory = "6Mi"

const (
	whyProbe    = "probes are not supported by this version"
	whyResource = "there are cpu, memory and ephemeral-storage only"
)

func containerRows() []row {
	rows := []row{
		yes("name", ""),
		yes("image", ""),
		but("imagePullPolicy", "an image that was imported on the node and that no registry has serves Always too"),
		yes("command", ""),
		yes("args", ""),
		yes("workingDir", ""),
		yes("stdin", ""),
		yes("stdinOnce", ""),
		yes("tty", ""),
		yes("terminationMessagePath", ""),
		yes("terminationMessagePolicy", ""),
		within("securityContext"),
		no("resizePolicy", "a running pod can't be resized"),
		no("restartPolicy", "a restart policy of its own is "+whyNotYet+" for a container; use the pod's"),
		no("restartPolicyRules", "restart rules are "+whyNotYet+"; use the pod's restartPolicy"),
		no("volumeDevices", "block devices are "+whyNotYet),
		no("livenessProbe", whyProbe),
		no("readinessProbe", whyProbe),
		no("startupProbe", whyProbe),
		no("lifecycle", "hooks and stop signals of a container are "+whyNotYet+"; the image's stop signal is honoured"),
	}
	return append(append(append(rows, portRows()...), envRows()...), append(mountRows(), resourceRows()...)...)
}

func portRows() []row {
	return []row{
		within("ports"),
		yes("ports[].name", ""),
		yes("ports[].containerPort", "every port of the pod's address is open, listed or not"),
		yes("ports[].protocol", ""),
		no("ports[].hostPort", "pods have addresses of their own and no ports of the node"),
		no("ports[].hostIP", "pods have addresses of their own and no ports of the node"),
	}
}

func envRows() []row {
	return []row{
		but("envFrom", "keys that make no C identifier, dots and dashes aside, are skipped with an event"),
		within("env"),
		yes("env[].name", ""),
		yes("env[].value", ""),
		within("env[].valueFrom"),
		yes("env[].valueFrom.fieldRef", ""),
		yes("env[].valueFrom.resourceFieldRef", ""),
		yes("env[].valueFrom.configMapKeyRef", ""),
		yes("env[].valueFrom.secretKeyRef", ""),
		no("env[].valueFrom.fileKeyRef", "variables from files in volumes are "+whyNotYet),
	}
}

func mountRows() []row {
	return []row{
		within("volumeMounts"),
		yes("volumeMounts[].name", ""),
		yes("volumeMounts[].mountPath", ""),
		yes("volumeMounts[].readOnly", ""),
		but("volumeMounts[].subPath", "as everywhere, such a mount does not follow changes of a config map or secret"),
		yes("volumeMounts[].subPathExpr", ""),
		noBut("volumeMounts[].recursiveReadOnly", "read-only mounts hold no further mounts here: use readOnly",
			corev1.RecursiveReadOnlyDisabled, corev1.RecursiveReadOnlyIfPossible),
		noBut("volumeMounts[].mountPropagation", whyOwnVM, corev1.MountPropagationNone),
	}
}

func resourceRows() []row {
	return []row{
		within("resources"),
		within("resources.limits"),
		yes("resources.limits[cpu]", "the VM's processors, rounded up, and the container's cgroup"),
		atLeast("resources.limits[memory]", "the VM's memory, with an overhead added, and the container's cgroup; at least "+minMemory,
			"less than the "+minMemory+" that a container needs to start", resource.MustParse(minMemory)),
		but("resources.limits[ephemeral-storage]", "the size of the pod's scratch disk, for all containers together: a write beyond it "+
			"fails, and nothing is evicted"),
		no("resources.limits[*]", whyResource),
		within("resources.requests"),
		yes("resources.requests[cpu]", "counts as limit for the VM's size where there is none"),
		yes("resources.requests[memory]", "counts as limit for the VM's size where there is none"),
		yes("resources.requests[ephemeral-storage]", byScheduler),
		no("resources.requests[*]", whyResource),
		no("resources.claims", "devices are "+whyNotYet),
	}
}

// Profiles that ask for nothing.
var (
	unconfinedSeccomp  = corev1.SeccompProfile{Type: corev1.SeccompProfileTypeUnconfined}
	unconfinedAppArmor = corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeUnconfined}
)

func securityRows() []row {
	return []row{
		yes("runAsUser", ""),
		yes("runAsGroup", ""),
		yes("runAsNonRoot", "checked before the container is made, as the kubelet does"),
		yes("readOnlyRootFilesystem", ""),
		noBut("privileged", "privileged containers are "+whyNotYet, false),
		noBut("allowPrivilegeEscalation", "no_new_privs is "+whyNotYet, true),
		noBut("capabilities", "other than the default capabilities are "+whyNotYet, corev1.Capabilities{}),
		noBut("procMount", "an unmasked /proc is "+whyNotYet, corev1.DefaultProcMount),
		noBut("seccompProfile", "seccomp profiles are "+whyNotYet, unconfinedSeccomp),
		noBut("appArmorProfile", "the VM's kernel has no AppArmor", unconfinedAppArmor),
		noBut("seLinuxOptions", "the VM's kernel has no SELinux", corev1.SELinuxOptions{}),
		no("windowsOptions", "containers run on Linux"),
	}
}
