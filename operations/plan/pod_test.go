package plan_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/operations/plan"
)

func TestPod(t *testing.T) {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web-0", Namespace: "shop", UID: "u1"},
		Spec: corev1.PodSpec{
			Subdomain:     "web",
			RestartPolicy: corev1.RestartPolicyNever, TerminationGracePeriodSeconds: new(int64(7)),
			HostAliases: []corev1.HostAlias{{IP: "192.0.2.9", Hostnames: []string{"db", "db.example"}}, {IP: "192.0.2.8"}},
			Containers: []corev1.Container{{Name: "c", VolumeMounts: []corev1.VolumeMount{
				{Name: "config"}, {Name: "disk"}, {Name: "memory"}, {Name: "small"},
			}}},
			Volumes: []corev1.Volume{
				{Name: "disk", VolumeSource: emptyDir("", "1Gi").VolumeSource},
				{Name: "unused", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "gone"}}},
				{Name: "memory", VolumeSource: emptyDir(corev1.StorageMediumMemory, "1Gi").VolumeSource},
				{Name: "small", VolumeSource: emptyDir(corev1.StorageMediumMemory, "1Mi").VolumeSource},
				{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{}}},
			},
		},
	}
	pod.Spec.Volumes[0].EmptyDir.Mode, pod.Spec.Volumes[3].EmptyDir.Mode = new(int32(0o1777)), new(int32(0))
	seeds := []wire.Seed{{Name: "c", RestartCount: 3}}
	dns := wire.DNS{Nameservers: []string{"192.0.2.53"}}
	got, err := plan.Pod(pod, plan.PodInputs{
		DNS: dns, PodIP: netip.MustParseAddr("10.1.0.2"), ClusterDomain: "cluster.local", ScratchDisk: "scratch",
		ClusterHosts: []wire.Host{{IP: "10.96.0.1", Names: []string{"kubernetes.default"}}},
		Seeds:        seeds, Defaults: plan.StandardDefaults(),
	})
	require.NoError(t, err)
	assert.Equal(t, wire.Pod{
		UID: "u1", Namespace: "shop", Name: "web-0", Hostname: "web-0", DNS: dns,
		Hosts: []wire.Host{
			{IP: "10.1.0.2", Names: []string{"web-0.web.shop.svc.cluster.local", "web-0"}},
			{IP: "10.96.0.1", Names: []string{"kubernetes.default"}},
			{IP: "192.0.2.9", Names: []string{"db", "db.example"}},
		},
		ScratchDisk: "scratch",
		Volumes: []wire.Volume{
			{Name: "disk", Kind: wire.VolumeScratch, Mode: new(uint32(0o1777))},
			{Name: "unused", Kind: wire.VolumeFiles},
			{Name: "memory", Kind: wire.VolumeMemory, SizeBytes: 512 * mebi},
			{Name: "small", Kind: wire.VolumeMemory, SizeBytes: mebi, Mode: new(uint32(0))},
			{Name: "config", Kind: wire.VolumeFiles},
		},
		Containers: seeds, RestartPolicy: "Never", Grace: 7 * time.Second,
	}, got)
	files := plan.FileVolumes(pod)
	require.Len(t, files, 1)
	assert.Equal(t, "config", files[0].Name)
	assert.Len(t, pod.Spec.Volumes, 5, "the pod stays as it is")
}

func TestAPodWithoutSubdomainOrAddress(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web"}}
	got, err := plan.Pod(pod, plan.PodInputs{PodIP: netip.MustParseAddr("10.1.0.2")})
	require.NoError(t, err)
	assert.Equal(t, []wire.Host{{IP: "10.1.0.2", Names: []string{"web"}}}, got.Hosts)
	assert.Equal(t, "Always", got.RestartPolicy)
	assert.Equal(t, 30*time.Second, got.Grace)
	got, err = plan.Pod(pod, plan.PodInputs{})
	require.NoError(t, err)
	assert.Empty(t, got.Hosts)
}

func TestWhatContainersShareBesideVolumes(t *testing.T) {
	pod := &corev1.Pod{Spec: corev1.PodSpec{
		ShareProcessNamespace: new(true), ActiveDeadlineSeconds: new(int64(30)),
		SecurityContext: &corev1.PodSecurityContext{
			FSGroup: new(int64(7)), Sysctls: []corev1.Sysctl{{Name: "net/core/somaxconn", Value: "9"}, {Name: "vm.max_map_count", Value: "1"}},
		},
	}}
	got, err := plan.Pod(pod, plan.PodInputs{StartTime: new(metav1.NewTime(at(5)))})
	require.NoError(t, err)
	assert.True(t, got.ShareProcesses)
	assert.Equal(t, at(35), got.Deadline)
	assert.Equal(t, new(int64(7)), got.FSGroup)
	assert.Equal(t, []wire.Sysctl{{Name: "net.core.somaxconn", Value: "9"}, {Name: "vm.max_map_count", Value: "1"}}, got.Sysctls)
}

func TestHostname(t *testing.T) {
	tests := map[string]struct{ name, hostname, want string }{
		"the pod's name":              {"web", "", "web"},
		"the host name of the spec":   {"web", "www", "www"},
		"no more than Linux takes":    {strings.Repeat("a", 70), "", strings.Repeat("a", 63)},
		"a cut never leaves a hyphen": {strings.Repeat("a", 61) + "-.b", "", strings.Repeat("a", 61)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: tt.name}, Spec: corev1.PodSpec{Hostname: tt.hostname}}
			got, err := plan.Hostname(pod, "cluster.local")
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
		})
	}
}

func TestTheCompleteNameAsHostname(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-0", Namespace: "shop"}, Spec: corev1.PodSpec{SetHostnameAsFQDN: new(true)}}
	hostname := func() string {
		t.Helper()
		got, err := plan.Hostname(pod, "cluster.local")
		require.NoError(t, err)
		return got
	}
	assert.Equal(t, "web-0", hostname(), "without a subdomain there is none")
	pod.Spec.Subdomain = "web"
	assert.Equal(t, "web-0.web.shop.svc.cluster.local", hostname())
	pod.Spec.HostnameOverride = new("other.example")
	assert.Equal(t, "other.example", hostname())
	pod.Spec.HostnameOverride = nil
	pod.Spec.Subdomain = strings.Repeat("w", 40)
	_, err := plan.Hostname(pod, "cluster.local")
	require.ErrorContains(t, err, "setHostnameAsFQDN: the complete name web-0.www")
	_, err = plan.Pod(pod, plan.PodInputs{ClusterDomain: "cluster.local"})
	require.ErrorContains(t, err, "more than the 64 that a host name may have")
}
