package fields

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// minMemory is the least memory limit of a container: with less, the runtime itself is killed before the container's
// process runs.
const minMemory = "6Mi"

const whyResource = "there are cpu, memory and ephemeral-storage only"

func containerRows() []row {
	rows := []row{
		yes("name", ""),
		but("image", "a change replaces the running container, as with a kubelet; the container runs on while the new image is pulled"),
		but("imagePullPolicy", "Always also takes an image that was imported on the node and that no registry has"),
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
		yes("restartPolicy", "`Always` makes a sidecar of an init container"),
		within("restartPolicyRules"),
		only("restartPolicyRules[].action", "", "a container's end can't restart all others here", corev1.ContainerRestartRuleActionRestart),
		yes("restartPolicyRules[].exitCodes", ""),
		onDisks(yes("volumeDevices", "claims of volumes with volumeMode Block")),
	}
	for _, more := range [][]row{healthRows(), portRows(), envRows(), mountRows(), resourceRows()} {
		rows = append(rows, more...)
	}
	return rows
}

func healthRows() []row {
	const note = "the guest probes by itself, also while the node is away; a port by a name that the container does not have " +
		"keeps it from starting"
	return []row{
		but("livenessProbe", note),
		but("readinessProbe", note),
		but("startupProbe", note),
		within("lifecycle"),
		within("lifecycle.postStart"),
		yes("lifecycle.postStart.exec", ""),
		but("lifecycle.postStart.httpGet", whyHTTP2Hook),
		yes("lifecycle.postStart.sleep", ""),
		no("lifecycle.postStart.tcpSocket", whyTCPHook),
		within("lifecycle.preStop"),
		yes("lifecycle.preStop.exec", ""),
		but("lifecycle.preStop.httpGet", whyHTTP2Hook),
		yes("lifecycle.preStop.sleep", ""),
		no("lifecycle.preStop.tcpSocket", whyTCPHook),
		yes("lifecycle.stopSignal", "comes before the image's"),
	}
}

const whyHTTP2Hook = "`protocol` HTTP2 counts for hooks too; a kubelet heeds it in probes only"

const whyTCPHook = "Kubernetes has no hooks of this kind: a kubelet fails them"

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
		but("envFrom", "a key that is not a C identifier, dots and dashes aside, is skipped with an event"),
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
		onlyOf("volumeMounts[].bindMountOptions", "", "mounts have no further options here",
			string(corev1.BindMountOptionNoExec), string(corev1.BindMountOptionNoDev), string(corev1.BindMountOptionNoSUID)),
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

// seccompRow is the same for pods and containers.
func seccompRow() row {
	return only("seccompProfile", "`RuntimeDefault` is the profile that containers of Docker have",
		"profiles of the node's own are not here: use RuntimeDefault",
		corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}, unconfinedSeccomp)
}

func securityRows() []row {
	return []row{
		yes("runAsUser", ""),
		yes("runAsGroup", ""),
		yes("runAsNonRoot", "checked before the container is made, as the kubelet does"),
		yes("readOnlyRootFilesystem", ""),
		but("privileged", "the devices are those of the pod's own VM, and so is the kernel"),
		yes("allowPrivilegeEscalation", ""),
		yes("capabilities", "one that does not exist keeps the container from being made"),
		yes("procMount", ""),
		seccompRow(),
		noBut("appArmorProfile", "the VM's kernel has no AppArmor", unconfinedAppArmor),
		noBut("seLinuxOptions", "the VM's kernel has no SELinux", corev1.SELinuxOptions{}),
		no("windowsOptions", "containers run on Linux"),
	}
}
