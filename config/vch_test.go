package config_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/virtual-kubelet/vic/config"
)

// onVSphere is the entry of an object that is right, and then changed.
func onVSphere(t *testing.T, change func(*config.VCH, *config.VSphere)) *config.Entry {
	t.Helper()
	e := config.OfObject("pool", &config.VCH{Subnet: "192.0.2.0/24", VSphere: &config.VSphere{
		Address: "vcenter.example", CredentialsSecret: "vcenter", BootISO: "[store] vic/boot.iso", Network: "pods", Gateway: "192.0.2.1",
		AdvertiseAddresses: []string{"192.0.2.10:7443"},
	}})
	change(&e.VCH, e.VSphere)
	return &e
}

func TestWhatIsWrongWithAnObjectIsNamedByItsPath(t *testing.T) {
	tests := map[string]struct {
		change func(*config.VCH, *config.VSphere)
		want   string
	}{
		"QEMU":                     {func(v *config.VCH, _ *config.VSphere) { v.VSphere, v.QEMU = nil, &config.QEMU{} }, "spec.qemu: an object of the cluster can't have pods run on QEMU"},
		"no hypervisor":            {func(v *config.VCH, _ *config.VSphere) { v.VSphere = nil }, "spec.vsphere: missing"},
		"a user":                   {func(_ *config.VCH, s *config.VSphere) { s.User = "u" }, "spec.vsphere.user: only a file can have it"},
		"a file of this machine":   {func(_ *config.VCH, s *config.VSphere) { s.PasswordFile = "/etc/shadow" }, "spec.vsphere.passwordFile: only a file can have it"},
		"a place to dial in":       {func(_ *config.VCH, s *config.VSphere) { s.GuestListen = ":1" }, "spec.vsphere.guestListen: only a file can have it"},
		"no credentials":           {func(_ *config.VCH, s *config.VSphere) { s.CredentialsSecret = "" }, "spec.vsphere.credentialsSecret: missing"},
		"no address":               {func(_ *config.VCH, s *config.VSphere) { s.Address = "" }, "spec.vsphere.address: missing"},
		"no ISO":                   {func(_ *config.VCH, s *config.VSphere) { s.BootISO = "" }, "spec.vsphere.bootISO: missing"},
		"no network":               {func(_ *config.VCH, s *config.VSphere) { s.Network = "" }, "spec.vsphere.network: missing"},
		"no address to dial":       {func(_ *config.VCH, s *config.VSphere) { s.AdvertiseAddresses = nil }, "spec.vsphere.advertiseAddresses: missing"},
		"a bad address to dial":    {func(_ *config.VCH, s *config.VSphere) { s.AdvertiseAddresses = []string{":7443"} }, `spec.vsphere.advertiseAddresses: ":7443" is not a HOST:PORT`},
		"no subnet":                {func(v *config.VCH, _ *config.VSphere) { v.Subnet = "" }, "spec.subnet: missing"},
		"a bad gateway":            {func(_ *config.VCH, s *config.VSphere) { s.Gateway = "there" }, "spec.vsphere.gateway: "},
		"a gateway from elsewhere": {func(_ *config.VCH, s *config.VSphere) { s.Gateway = "198.51.100.1" }, "spec.vsphere.gateway: 198.51.100.1 is outside"},
		"a range that has no room": {func(_ *config.VCH, s *config.VSphere) { s.FirstAddress, s.LastAddress = "192.0.2.9", "192.0.2.8" }, "spec.vsphere.lastAddress: 192.0.2.8 leaves no room"},
		"tags of no category":      {func(_ *config.VCH, s *config.VSphere) { s.Tags = &config.Tags{} }, "spec.vsphere.tags.category: missing"},
		"processors that run back": {func(_ *config.VCH, s *config.VSphere) { s.MHzPerCore = -1 }, "spec.vsphere.mhzPerCore: -1 is below zero"},
		"a packet of nothing":      {func(_ *config.VCH, s *config.VSphere) { s.MTU = -1 }, "spec.vsphere.mtu: -1"},
		"two ways to trust":        {func(_ *config.VCH, s *config.VSphere) { s.Thumbprint, s.Insecure = "aa", true }, "spec.vsphere: of caFile, thumbprint and insecure only one"},
		"storage, which is not kept": {func(v *config.VCH, _ *config.VSphere) {
			v.Limits = corev1.ResourceList{corev1.ResourceEphemeralStorage: resource.MustParse("1Gi")}
		}, "spec.limits.ephemeral-storage: it is not one of"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			require.ErrorContains(t, onVSphere(t, tt.change).CheckObject(), tt.want)
		})
	}
	require.NoError(t, onVSphere(t, func(*config.VCH, *config.VSphere) {}).CheckObject())
}

func TestAnEntryHasCredentialsOfOneKind(t *testing.T) {
	for more, want := range map[string]string{
		"user: \"\"":                 "vchs[0].vsphere.user: missing",
		"passwordFile: \"\"":         "vchs[0].vsphere.passwordFile: missing",
		"credentialsSecret: vcenter": "vchs[0].vsphere.user: the Secret of credentialsSecret has it",
	} {
		section := `{address: v, bootISO: i, network: n, advertiseAddresses: ["192.0.2.2:1"], `
		if more != "user: \"\"" {
			section += "user: u, "
		}
		if more != "passwordFile: \"\"" {
			section += "passwordFile: /p, "
		}
		_, err := read("guestListen: \":1\"\nnamespace: v\nvchs: [{name: a, subnet: 192.0.2.0/24, vsphere: " + section + more + "}}]")
		require.ErrorContains(t, err, want)
	}
}

func TestAVCHStaysWhereItsPodsAre(t *testing.T) {
	n, err := read("guestListen: \":1\"\nvchs: [" + pool("a", "", "pool: p") + "]")
	require.NoError(t, err)
	from := &n.VCHs[0]
	for path, change := range map[string]func(*config.Entry, *config.VSphere){
		"vchs[0].nodeName":           func(e *config.Entry, _ *config.VSphere) { e.NodeName = "x" },
		"vchs[0].subnet":             func(e *config.Entry, _ *config.VSphere) { e.Subnet = "192.0.3.0/24" },
		"vchs[0].vsphere.address":    func(_ *config.Entry, s *config.VSphere) { s.Address = "x" },
		"vchs[0].vsphere.datacenter": func(_ *config.Entry, s *config.VSphere) { s.Datacenter = "x" },
		"vchs[0].vsphere.folder":     func(_ *config.Entry, s *config.VSphere) { s.Folder = "x" },
		"vchs[0].vsphere.datastore":  func(_ *config.Entry, s *config.VSphere) { s.Datastore = "x" },
		"vchs[0].vsphere.directory":  func(_ *config.Entry, s *config.VSphere) { s.Directory = "x" },
		"vchs[0]: the hypervisor":    func(e *config.Entry, _ *config.VSphere) { e.VSphere = nil },
	} {
		to := from.DeepCopy()
		change(to, to.VSphere)
		require.ErrorContains(t, to.CheckChange(from.Place()), path)
	}
	to := from.DeepCopy()
	to.Limits, to.VSphere.Pool = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("4")}, "q"
	require.NoError(t, to.CheckChange(from.Place()))
}

func TestNotAllOfANodeCanBeReserved(t *testing.T) {
	v := config.VCH{Reserved: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")}}
	require.NoError(t, v.CheckCapacity(corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("2Gi")}))
	err := v.CheckCapacity(corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")})
	require.EqualError(t, err, "reserved.memory: 1Gi leaves nothing of the node's 1Gi")
}

func TestClaimsNameWhatIsAnEntrysAlone(t *testing.T) {
	n, err := read("guestListen: \":1\"\nvchs: [" + pool("a", "port: 99,", "datastore: s") + "]")
	require.NoError(t, err)
	assert.Equal(t, "vchs[0].port", n.VCHs[0].FieldPath("port"))
	assert.Equal(t, []string{"nodeName a", "port 99", `vsphere.directory vic/a of vsphere.datastore "s" at v`}, n.VCHs[0].Claims())
}
