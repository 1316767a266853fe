package fields_test

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/virtual-kubelet/vic/operations/fields"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
)

var able = podvm.Capabilities{Hypervisor: "qemu", PodNetwork: true, HotAddDisk: true}

// apiPod is a pod as kube-apiserver v1.36.3 returned it: with its defaults and what admission adds.
func apiPod(t *testing.T) *corev1.Pod {
	t.Helper()
	data, err := os.ReadFile("testdata/pod.json")
	require.NoError(t, err)
	var pod corev1.Pod
	require.NoError(t, json.Unmarshal(data, &pod))
	return &pod
}

func TestAPodAsTheAPIServerReturnsItIsAdmitted(t *testing.T) {
	require.Empty(t, fields.Check(apiPod(t), able))
}

func TestCheckAdmits(t *testing.T) {
	tests := map[string]func(*corev1.PodSpec){
		"everything of the scheduler": func(s *corev1.PodSpec) {
			s.NodeName, s.SchedulerName, s.PriorityClassName = "n", "s", "p"
			s.Priority = new(int32(0))
			s.NodeSelector = map[string]string{"a": "b"}
			s.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{}}
			s.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
			s.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{MaxSkew: 1}}
			s.SchedulingGates = []corev1.PodSchedulingGate{{Name: "g"}}
		},
		"containers of all kinds, with probes and hooks": func(s *corev1.PodSpec) {
			s.InitContainers = []corev1.Container{{Name: "i"}, {Name: "s", RestartPolicy: new(corev1.ContainerRestartPolicyAlways)}}
			s.Containers = append(s.Containers, corev1.Container{
				Name: "b", LivenessProbe: &corev1.Probe{}, ReadinessProbe: &corev1.Probe{}, StartupProbe: &corev1.Probe{},
				Lifecycle: &corev1.Lifecycle{
					PostStart:  &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"x"}}},
					PreStop:    &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 1}},
					StopSignal: new(corev1.SIGUSR1),
				},
				RestartPolicyRules: []corev1.ContainerRestartRule{{
					Action:    corev1.ContainerRestartRuleActionRestart,
					ExitCodes: &corev1.ContainerRestartRuleOnExitCodes{Operator: corev1.ContainerRestartRuleOnExitCodesOpIn, Values: []int32{1}},
				}},
			})
		},
		"what the restricted pod security standard wants": func(s *corev1.PodSpec) {
			s.SecurityContext = &corev1.PodSecurityContext{
				RunAsNonRoot: new(true), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			}
			s.Containers[0].SecurityContext = &corev1.SecurityContext{
				AllowPrivilegeEscalation: new(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			}
		},
		"what belongs to the pod's own kernel": func(s *corev1.PodSpec) {
			s.HostUsers, s.SetHostnameAsFQDN = new(false), new(true)
			s.ActiveDeadlineSeconds = new(int64(5))
			s.SecurityContext = &corev1.PodSecurityContext{
				FSGroup: new(int64(1)), FSGroupChangePolicy: new(corev1.FSGroupChangeOnRootMismatch), SupplementalGroups: []int64{2},
				SupplementalGroupsPolicy: new(corev1.SupplementalGroupsPolicyStrict),
				Sysctls:                  []corev1.Sysctl{{Name: "kernel.msgmax", Value: "1"}},
			}
			s.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: new(true), ProcMount: new(corev1.UnmaskedProcMount)}
		},
		"resources of the pod as a whole": func(s *corev1.PodSpec) {
			s.Resources = &corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")}}
		},
		"a process namespace for the whole pod": func(s *corev1.PodSpec) { s.ShareProcessNamespace = new(true) },
		"pointers to what is so anyway": func(s *corev1.PodSpec) {
			s.ShareProcessNamespace, s.SetHostnameAsFQDN = new(false), new(false)
			s.HostUsers, s.AutomountServiceAccountToken = new(true), new(false)
			s.OS = &corev1.PodOS{Name: corev1.Linux}
		},
		"security contexts that ask for nothing": func(s *corev1.PodSpec) {
			s.SecurityContext = &corev1.PodSecurityContext{
				SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeUnconfined},
				SupplementalGroupsPolicy: new(corev1.SupplementalGroupsPolicyMerge),
			}
			s.Containers[0].SecurityContext = &corev1.SecurityContext{
				Privileged: new(false), AllowPrivilegeEscalation: new(true), Capabilities: &corev1.Capabilities{},
				ProcMount: new(corev1.DefaultProcMount),
			}
		},
		"users, groups and a read-only root": func(s *corev1.PodSpec) {
			s.SecurityContext = &corev1.PodSecurityContext{RunAsUser: new(int64(1)), RunAsGroup: new(int64(2)), RunAsNonRoot: new(true)}
			s.Containers[0].SecurityContext = &corev1.SecurityContext{RunAsUser: new(int64(0)), ReadOnlyRootFilesystem: new(true)}
		},
		"volumes in memory": func(s *corev1.PodSpec) {
			s.Volumes = append(s.Volumes, corev1.Volume{Name: "m", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{
				Medium: corev1.StorageMediumMemory, SizeLimit: new(resource.MustParse("1Mi")),
			}}})
		},
		"options and modes of what is mounted": func(s *corev1.PodSpec) {
			s.Volumes = append(s.Volumes, corev1.Volume{Name: "m", VolumeSource: corev1.VolumeSource{
				EmptyDir: &corev1.EmptyDirVolumeSource{Mode: new(int32(0o1777))},
			}})
			s.Containers[0].VolumeMounts[0].BindMountOptions = []string{"noexec", "nodev", "nosuid"}
			s.Volumes[1].Projected.DefaultUser = new(int64(7))
		},
		"empty lists": func(s *corev1.PodSpec) {
			s.InitContainers, s.ImagePullSecrets = []corev1.Container{}, []corev1.LocalObjectReference{}
		},
		"every part of the environment": func(s *corev1.PodSpec) {
			s.Containers[0].EnvFrom = []corev1.EnvFromSource{{Prefix: "P_", SecretRef: &corev1.SecretEnvSource{Optional: new(true)}}}
			s.Containers[0].Env = []corev1.EnvVar{
				{Name: "A", Value: "$(B)"},
				{Name: "B", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}}},
				{Name: "C", ValueFrom: &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "limits.cpu"}}},
				{Name: "D", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{Key: "k"}}},
				{Name: "E", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{Key: "k"}}},
			}
		},
	}
	for name, set := range tests {
		t.Run(name, func(t *testing.T) {
			pod := apiPod(t)
			set(&pod.Spec)
			require.Empty(t, fields.Check(pod, able))
		})
	}
}

func TestCheckRefusesByFullPath(t *testing.T) {
	tests := map[string]struct {
		set  func(*corev1.PodSpec)
		want []string
	}{
		"spec.containers[0].lifecycle.preStop.tcpSocket": {set: func(s *corev1.PodSpec) {
			s.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{TCPSocket: &corev1.TCPSocketAction{}}}
		}},
		"spec.containers[0].restartPolicyRules[0].action": {set: func(s *corev1.PodSpec) {
			s.Containers[0].RestartPolicyRules = []corev1.ContainerRestartRule{{Action: corev1.ContainerRestartRuleActionRestartAllContainers}}
		}},
		"spec.containers[0].ports[1].hostPort": {set: func(s *corev1.PodSpec) {
			s.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 80}, {ContainerPort: 81, HostPort: 81}}
		}},
		"spec.containers[0].resources.limits[nvidia.com/gpu]": {set: func(s *corev1.PodSpec) {
			s.Containers[0].Resources.Limits = corev1.ResourceList{"nvidia.com/gpu": resource.MustParse("1")}
		}},
		"spec.containers[0].resources.requests[hugepages-2Mi]": {set: func(s *corev1.PodSpec) {
			s.Containers[0].Resources.Requests = corev1.ResourceList{"hugepages-2Mi": resource.MustParse("2Mi")}
		}},
		"spec.containers[0].resources.limits[memory]": {set: func(s *corev1.PodSpec) {
			s.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Mi")}
		}},
		"spec.initContainers[1].securityContext.seccompProfile": {set: func(s *corev1.PodSpec) {
			s.InitContainers = []corev1.Container{{Name: "a"}, {Name: "b", SecurityContext: &corev1.SecurityContext{
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeLocalhost, LocalhostProfile: new("p")},
			}}}
		}},
		"spec.resources.limits[hugepages-2Mi]": {set: func(s *corev1.PodSpec) {
			s.Resources = &corev1.ResourceRequirements{Limits: corev1.ResourceList{"hugepages-2Mi": resource.MustParse("2Mi")}}
		}},
		"spec.containers[0].env[0].valueFrom.fileKeyRef": {set: func(s *corev1.PodSpec) {
			s.Containers[0].Env = []corev1.EnvVar{{Name: "A", ValueFrom: &corev1.EnvVarSource{FileKeyRef: &corev1.FileKeySelector{Key: "k"}}}}
		}},
		"spec.containers[0].volumeMounts[0].mountPropagation": {set: func(s *corev1.PodSpec) {
			s.Containers[0].VolumeMounts[0].MountPropagation = new(corev1.MountPropagationHostToContainer)
		}},
		"spec.containers[0].volumeMounts[0].bindMountOptions": {set: func(s *corev1.PodSpec) {
			s.Containers[0].VolumeMounts[0].BindMountOptions = []string{"noexec", "noatime"}
		}},
		"spec.containers[1].volumeDevices": {set: func(s *corev1.PodSpec) {
			s.Containers = append(s.Containers, corev1.Container{Name: "b", VolumeDevices: []corev1.VolumeDevice{{Name: "d"}}})
		}},
		"spec.volumes[2].hostPath": {set: func(s *corev1.PodSpec) {
			s.Volumes = append(s.Volumes, corev1.Volume{Name: "h", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{}}})
		}},
		"spec.volumes[2].emptyDir.medium": {set: func(s *corev1.PodSpec) {
			s.Volumes = append(s.Volumes, corev1.Volume{Name: "h", VolumeSource: corev1.VolumeSource{
				EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumHugePages},
			}})
		}},
		"spec.volumes[1].projected.sources[3].clusterTrustBundle": {set: func(s *corev1.PodSpec) {
			p := s.Volumes[1].Projected
			p.Sources = append(p.Sources, corev1.VolumeProjection{ClusterTrustBundle: &corev1.ClusterTrustBundleProjection{Path: "p"}})
		}},
		"spec.securityContext.seLinuxOptions": {set: func(s *corev1.PodSpec) {
			s.SecurityContext.SELinuxOptions = &corev1.SELinuxOptions{Level: "s0"}
		}},
		"spec.hostNetwork": {set: func(s *corev1.PodSpec) { s.HostNetwork = true }},
		"spec.hostPID":     {set: func(s *corev1.PodSpec) { s.HostPID = true }},
		"spec.os":          {set: func(s *corev1.PodSpec) { s.OS = &corev1.PodOS{Name: corev1.Windows} }},
	}
	for path, tt := range tests {
		t.Run(path, func(t *testing.T) {
			pod := apiPod(t)
			tt.set(&pod.Spec)
			got := fields.Check(pod, able)
			require.Len(t, got, 1)
			assert.Equal(t, path, got[0].Field)
			assert.NotEmpty(t, got[0].Why)
			assert.Equal(t, path+": "+got[0].Why, got[0].String())
		})
	}
}

func TestCheckNamesAllThatIsRefused(t *testing.T) {
	pod := apiPod(t)
	pod.Spec.HostPID = true
	pod.Spec.Containers[0].VolumeDevices = []corev1.VolumeDevice{{Name: "d"}}
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: "n", VolumeSource: corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{}}})
	var got []string
	for _, r := range fields.Check(pod, able) {
		got = append(got, r.Field)
	}
	require.Equal(t, []string{"spec.volumes[2].nfs", "spec.containers[0].volumeDevices", "spec.hostPID"}, got)
}

func TestEphemeralContainersAreCheckedByThemselves(t *testing.T) {
	pod := apiPod(t)
	pod.Spec.EphemeralContainers = []corev1.EphemeralContainer{
		{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "fine"}, TargetContainerName: "main"},
		{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", SecurityContext: &corev1.SecurityContext{
			WindowsOptions: &corev1.WindowsSecurityContextOptions{HostProcess: new(true)},
		}}},
	}
	require.Empty(t, fields.Check(pod, able), "the pod goes on")
	require.Equal(t, map[string][]fields.Refusal{"debug": {{
		Field: "spec.ephemeralContainers[1].securityContext.windowsOptions", Why: "containers run on Linux",
	}}}, fields.CheckEphemeral(pod, able))
}

func TestAHostWithoutPodNetworkRefusesMore(t *testing.T) {
	pod := apiPod(t)
	pod.Spec.Subdomain = "web"
	require.Empty(t, fields.Check(pod, able))
	got := fields.Check(pod, podvm.Capabilities{Hypervisor: "qemu"})
	require.Len(t, got, 1)
	require.Equal(t, "spec.subdomain", got[0].Field)
}

// TestEveryFieldHasARow sets each field of the API's types, one at a time, and expects that Check knows it.
func TestEveryFieldHasARow(t *testing.T) {
	owners := map[string]func(*corev1.PodSpec) reflect.Value{
		"pod":       func(s *corev1.PodSpec) reflect.Value { return reflect.ValueOf(s) },
		"container": func(s *corev1.PodSpec) reflect.Value { return reflect.ValueOf(&s.Containers[0]) },
		"port": func(s *corev1.PodSpec) reflect.Value {
			s.Containers[0].Ports = make([]corev1.ContainerPort, 1)
			return reflect.ValueOf(&s.Containers[0].Ports[0])
		},
		"mount": func(s *corev1.PodSpec) reflect.Value { return reflect.ValueOf(&s.Containers[0].VolumeMounts[0]) },
		"variable": func(s *corev1.PodSpec) reflect.Value {
			s.Containers[0].Env = make([]corev1.EnvVar, 1)
			return reflect.ValueOf(&s.Containers[0].Env[0])
		},
		"source of a variable": func(s *corev1.PodSpec) reflect.Value {
			s.Containers[0].Env = []corev1.EnvVar{{ValueFrom: &corev1.EnvVarSource{}}}
			return reflect.ValueOf(s.Containers[0].Env[0].ValueFrom)
		},
		"resources": func(s *corev1.PodSpec) reflect.Value { return reflect.ValueOf(&s.Containers[0].Resources) },
		"container's security context": func(s *corev1.PodSpec) reflect.Value {
			s.Containers[0].SecurityContext = &corev1.SecurityContext{}
			return reflect.ValueOf(s.Containers[0].SecurityContext)
		},
		"pod's security context": func(s *corev1.PodSpec) reflect.Value { return reflect.ValueOf(s.SecurityContext) },
		"volume": func(s *corev1.PodSpec) reflect.Value {
			s.Volumes = make([]corev1.Volume, 1)
			return reflect.ValueOf(&s.Volumes[0].VolumeSource)
		},
		"emptyDir": func(s *corev1.PodSpec) reflect.Value {
			s.Volumes = []corev1.Volume{{VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
			return reflect.ValueOf(s.Volumes[0].EmptyDir)
		},
		"projected volume": func(s *corev1.PodSpec) reflect.Value { return reflect.ValueOf(s.Volumes[1].Projected) },
		"projection": func(s *corev1.PodSpec) reflect.Value {
			s.Volumes[1].Projected.Sources = make([]corev1.VolumeProjection, 1)
			return reflect.ValueOf(&s.Volumes[1].Projected.Sources[0])
		},
	}
	for name, owner := range owners {
		typ := owner(&apiPod(t).Spec).Elem().Type()
		for i := range typ.NumField() {
			t.Run(name+" "+typ.Field(i).Name, func(t *testing.T) {
				pod := apiPod(t)
				fill(owner(&pod.Spec).Elem().Field(i))
				for _, r := range fields.Check(pod, able) {
					assert.NotContains(t, r.Why, "does not know the field", r.Field)
				}
			})
		}
	}
}

// fill sets v to something that is not its zero value.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("cpu").Convert(v.Type().Key()), reflect.Zero(v.Type().Elem()))
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int32, reflect.Int64:
		v.SetInt(1)
	default:
	}
}

func TestEveryRefusalHasAReason(t *testing.T) {
	for line := range strings.Lines(fields.Markdown()) {
		cells := strings.Split(line, "|")
		if len(cells) == 5 && strings.TrimSpace(cells[2]) == "refused" {
			require.NotEmpty(t, strings.TrimSpace(cells[3]), line)
		}
	}
}

func TestDocumentIsCurrent(t *testing.T) {
	got, err := os.ReadFile("../../docs/pod-fields.md")
	require.NoError(t, err)
	require.Equal(t, fields.Markdown(), string(got), "run go generate ./operations/fields")
}
