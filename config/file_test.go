package config_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/config"
)

// read is what a command does with the text of a file.
func read(text string) (*config.Node, error) {
	n, err := config.Parse([]byte(text))
	if err != nil {
		return nil, err
	}
	n.SetDefaults()
	return n, n.Check()
}

// pool is an entry on vSphere, with more keys of it and of its section.
func pool(name, more, section string) string {
	return "{name: " + name + ", subnet: 192.0.2.0/24, " + more + " vsphere: {address: v, user: u, passwordFile: /p, bootISO: i, network: n, " +
		"gateway: 192.0.2.1, advertiseAddresses: [\"192.0.2.2:1\"], " + section + "}}"
}

func TestWhatIsWrongIsNamedByItsPath(t *testing.T) {
	const controller = "guestListen: \":7443\"\nnamespace: v\ncontroller: true\n"
	tests := map[string]struct{ text, want string }{
		"nothing to serve":            {"dir: /d", "vch: missing: one of vch, vchs, controller"},
		"an empty file":               {"", "vch: missing"},
		"no state directory":          {"dir: \"\"\nvch: {name: n}", "dir: missing"},
		"an unknown key":              {"vch: {name: n}\nshoeSize: 9", "shoeSize: unknown key"},
		"an unknown key of a VCH":     {"vchs: [{name: a}, {name: b, shoeSize: 9}]", "vchs[1].shoeSize: unknown key"},
		"an unknown key of a section": {"vchs: [" + pool("a", "", "shoeSize: 9") + "]", "vchs[0].vsphere.shoeSize: unknown key"},
		"a key given twice":           {"vch: {name: n}\ndir: /a\ndir: /b", `"dir" already defined`},
		"not a map":                   {"- 1", "not a map"},
		"a key in place of a list":    {"vchs: {name: n}", "vchs: want a list"},
		"a text in place of a VCH":    {"vch: n", "vch: want a map"},
		"a text in place of a number": {"vch: {name: n, port: many}", `vch.port: "many" is not a whole number`},
		"a number in place of a text": {"vch: {name: 1}", "vch.name: 1 is not text"},
		"a word in place of a flag":   {"vch: {name: n}\nallowContainer: maybe", `allowContainer: "maybe" is not true or false`},
		"a bad duration":              {"vch: {name: n}\nimageGCPeriod: soon", "imageGCPeriod: \"soon\""},
		"a bad quantity":              {"vch: {name: n, limits: {memory: much}}", "vch.limits.memory: \"much\""},
		"a bad taint":                 {"vch: {name: n, taints: [{key: k, effect: 1}]}", "vch.taints[0].effect: 1 is not text"},

		"a key in other letters":    {"vch: {name: n, nodename: m}", "vch.nodename: unknown key"},
		"one of the process":        {"vch: {name: n}\nhealthlisten: \":1\"", "healthlisten: unknown key"},
		"probes of one node":        {"vch: {name: n}\nhealthListen: here", "healthListen: "},
		"a bad policy for one node": {"vch: {name: n}\ndeletionPolicy: Foo", `deletionPolicy: "Foo" is not one of`},

		"no name":                       {"vch: {port: 1}", "vch.name: missing"},
		"a bad name":                    {"vch: {name: No Name}", `vch.name: "No Name"`},
		"a bad node name":               {"vch: {name: n, nodeName: No Name}", `vch.nodeName: "No Name"`},
		"a long node name":              {"vch: {name: " + strings.Repeat("n", 64) + "}", "vch.nodeName: "},
		"a bad subnet":                  {"vch: {name: n, subnet: everywhere}", "vch.subnet: "},
		"a bad address":                 {"vch: {name: n, address: here}", "vch.address: "},
		"a bad port":                    {"vch: {name: n, port: 70000}", "vch.port: 70000 is not a port"},
		"no processors":                 {"vch: {name: n, limits: {cpu: 0}}", "vch.limits.cpu: 0 is not above zero"},
		"half a processor":              {"vch: {name: n, limits: {cpu: 500m}}", "vch.limits.cpu: 500m is not a whole number"},
		"pods below zero":               {"vch: {name: n, limits: {pods: -1}}", "vch.limits.pods: -1 is not above zero"},
		"a limit of nothing known":      {"vch: {name: n, limits: {gpu: 1}}", "vch.limits.gpu: it is not one of cpu, memory"},
		"a limit that vSphere has not":  {"vchs: [" + pool("a", "limits: {ephemeral-storage: 1Gi},", "") + "]\nguestListen: \":1\"", "vchs[0].limits.ephemeral-storage: it is not one of cpu, memory, pods"},
		"a reserve of what is not kept": {"vch: {name: n, reserved: {pods: 1}}", "vch.reserved.pods: it is not one of"},
		"a reserve below zero":          {"vch: {name: n, reserved: {cpu: -1}}", "vch.reserved.cpu: -1 is below zero"},
		"a bad label":                   {"vch: {name: n, labels: {\"a b\": c}}", "vch.labels: a b=c"},
		"a label of vic's own":          {"vch: {name: n, labels: {type: mine}}", "vch.labels: type is set by vic"},
		"a label that says whose it is": {"vch: {name: n, labels: {vic.virtual-kubelet.io/vch-uid: u}}", "vch.labels: vic.virtual-kubelet.io/vch-uid is set by vic"},
		"one that says how pods are":    {"vch: {name: n, labels: {vic.virtual-kubelet.io/pod-network: u}}", "vch.labels: vic.virtual-kubelet.io/pod-network is set by vic"},
		"a taint of a bad effect":       {"vch: {name: n, taints: [{key: k, effect: Sometimes}]}", `vch.taints[0]: effect "Sometimes"`},
		"a taint of a bad key":          {"vch: {name: n, taints: [{key: \"a b\", effect: NoSchedule}]}", "vch.taints[0]: a b="},
		"a bad deletion policy":         {"vchs: [{name: n, deletionPolicy: Maybe}]", `vchs[0].deletionPolicy: "Maybe" is not one of`},
		"two hypervisors":               {"vch: " + pool("n", "qemu: {},", "guestListen: \":1\""), "vch.qemu: of qemu and vsphere only one"},

		"one VCH and a list":        {"vch: {name: n}\nvchs: [{name: m}]", "vchs: of vch, vchs"},
		"a list and the cluster's":  {controller + "vchs: [{name: m}]", "controller: of vch, vchs"},
		"a name that is twice":      {"vchs: [{name: m}, {name: m}]", "vchs[1]: name m is there twice: vchs[0]"},
		"a node that is twice":      {"vchs: [{name: a, nodeName: m}, {name: m}]", "vchs[1]: nodeName m is that of a"},
		"a port that is twice":      {"vchs: [{name: a, port: 99}, {name: b, port: 99}]", "vchs[1]: port 99 is that of a"},
		"a directory that is twice": {"guestListen: \":1\"\nvchs: [" + pool("a", "", "directory: same") + ", " + pool("b", "", "directory: same") + "]", "vchs[1]: vsphere.directory same"},
		"guests without a place":    {"vchs: [" + pool("a", "", "") + "]", "vchs[0].vsphere.guestListen: missing"},
		"a cluster's without":       {"namespace: v\ncontroller: true", "guestListen: missing"},
		"a bad place for guests":    {"guestListen: here\nnamespace: v\ncontroller: true", "guestListen: "},
		"a bad place for probes":    {controller + "healthListen: here", "healthListen: "},
		"no namespace":              {"guestListen: \":1\"\ncontroller: true", "namespace: missing"},
		"a bad namespace":           {"guestListen: \":1\"\nnamespace: V\ncontroller: true", `namespace: "V"`},
		"an election of nobody":     {controller + "leaderElection: {}", "leaderElection.name: missing"},
		"an election of one":        {"namespace: v\nvch: {name: n}\nleaderElection: {name: l}", "leaderElection: it needs vchs or controller"},
		"a bad default policy":      {"deletionPolicy: Maybe\nvchs: [{name: m}]", `deletionPolicy: "Maybe" is not one of`},

		"a bad accelerator":          {"vch: {name: n}\naccel: warp", `accel: "warp" is not one of auto, kvm, tcg`},
		"a bad name server":          {"vch: {name: n}\nclusterDNS: [192.0.2.1, dns]", "clusterDNS[1]: "},
		"a pressure kept for less":   {"vch: {name: n}\nevictionPressureTransitionPeriod: -1s", "evictionPressureTransitionPeriod: -1s is below zero"},
		"a small log":                {"vch: {name: n}\ncontainerLogMaxSize: 1", "containerLogMaxSize: 1 is less than 64Ki"},
		"one log file":               {"vch: {name: n}\ncontainerLogMaxFiles: 1", "containerLogMaxFiles: 1 is less than 2"},
		"half of credentials":        {"vch: {name: n}\nimageCredentialProviderConfig: /c", "imageCredentialProviderBinDir: missing"},
		"the other half":             {"vch: {name: n}\nimageCredentialProviderBinDir: /c", "imageCredentialProviderConfig: missing"},
		"a registry with a scheme":   {"vch: {name: n}\ninsecureRegistries: [\"http://r:5000\"]", `insecureRegistries: "http://r:5000"`},
		"a bad mirror":               {"vch: {name: n}\nregistryMirrors: {docker.io: m}", `registryMirrors: "docker.io=m"`},
		"an image limit of nothing":  {"vch: {name: n}\nimageLimits: {bytes: 0}", "imageLimits.bytes: 0 is not a whole number above zero"},
		"a mark above all":           {"vch: {name: n}\nimageGCHighThresholdPercent: 101", "imageGCHighThresholdPercent: 101"},
		"a mark below all":           {"vch: {name: n}\nimageGCLowThresholdPercent: -1", "imageGCLowThresholdPercent: -1"},
		"marks the wrong way round":  {"vch: {name: n}\nimageGCHighThresholdPercent: 70", "imageGCLowThresholdPercent: 80 is not below the high threshold, 70"},
		"an age below zero":          {"vch: {name: n}\nimageMinimumGCAge: -1s", "imageMinimumGCAge: -1s"},
		"a look that never ends":     {"vch: {name: n}\nimageGCPeriod: 0s", "imageGCPeriod: 0s is below 1s"},
		"two documents of settings":  {"vch: {name: n}\n---\ndir: /d", "two documents with settings"},
		"an object of another kind":  {"apiVersion: v1\nkind: Pod", "kind: Pod of v1 is not VirtualContainerHost of"},
		"an object without a name":   {"apiVersion: vic.virtual-kubelet.io/v1alpha1\nkind: VirtualContainerHost", "metadata.name: missing"},
		"an object with a wrong key": {"apiVersion: vic.virtual-kubelet.io/v1alpha1\nkind: VirtualContainerHost\nmetadata: {name: n}\nspec: {vsphere: {store: s}}", "VirtualContainerHost n: spec.vsphere.store: unknown key"},
		"an object and one VCH":      {"vch: {name: m}\n---\napiVersion: vic.virtual-kubelet.io/v1alpha1\nkind: VirtualContainerHost\nmetadata: {name: n}", "vchs: of vch, vchs"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := read(tt.text)
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestAKeyThatHasMovedNamesTheNewOne(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"the node's name":                   {"nodeName: n", "nodeName: unknown key: write vch.name"},
		"processors":                        {"cpu: 4", "cpu: unknown key: write vch.limits.cpu"},
		"storage of a VCH":                  {"vchs: [{name: n, ephemeralStorage: 1Gi}]", "vchs[0].ephemeralStorage: unknown key: write limits.ephemeral-storage"},
		"a taint":                           {"vchs: [{name: n, taint: false}]", "vchs[0].taint: unknown key: write taints, with [] for none"},
		"the name of a VCH on vSphere":      {"vchs: [" + pool("n", "", "vch: x") + "]", "vchs[0].vsphere.vch: unknown key: write name beside vsphere"},
		"the namespace of a controller":     {"controller: {namespace: v}", "controller: {\"namespace\":\"v\"} is not true or false; write controller: true, and namespace beside it"},
		"the namespace of an election":      {"leaderElection: {namespace: v, name: l}", "leaderElection.namespace: unknown key: write namespace beside leaderElection"},
		"the hypervisor of an object":       {"apiVersion: vic.virtual-kubelet.io/v1alpha1\nkind: VirtualContainerHost\nmetadata: {name: n}\nspec: {hypervisor: vsphere}", "spec.hypervisor: unknown key: write a section vsphere"},
		"the section of the only VCH":       {"vsphere: {address: v}", "vsphere: unknown key: write vch.vsphere"},
		"two of them, which are named both": {"memory: 8Gi\npods: 9", "memory: unknown key: write vch.limits.memory; pods: unknown key: write vch.limits.pods"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := read(tt.text)
			require.ErrorContains(t, err, tt.want)
			var fields config.Errors
			require.ErrorAs(t, err, &fields)
		})
	}
}

func TestAFileHasDefaults(t *testing.T) {
	n, err := read("vch: {name: n}")
	require.NoError(t, err)
	assert.Equal(t, "/var/lib/vic", n.Dir)
	assert.Equal(t, "n", n.VCH.NodeName)
	assert.EqualValues(t, 10250, n.VCH.Port)
	assert.NotNil(t, n.VCH.QEMU)
	assert.Equal(t, &[]corev1.Taint{config.DefaultTaint()}, n.VCH.Taints)
	assert.False(t, n.Several())
	assert.Len(t, n.Entries(), 1)

	n, err = read("guestListen: \":1\"\nvchs: [{name: a, taints: []}, " + pool("b", "nodeName: c,", "") + "]")
	require.NoError(t, err)
	assert.True(t, n.Several())
	require.Len(t, n.Entries(), 2)
	a, b := n.VCHs[0], n.VCHs[1]
	assert.Zero(t, a.Port, "a free one")
	assert.Empty(t, *a.Taints)
	assert.Equal(t, "c", b.NodeName)
	assert.Nil(t, b.QEMU)
	assert.Equal(t, "vic/b", b.VSphere.Directory)

	n, err = read("guestListen: \":1\"\nnamespace: v\ncontroller: true\nleaderElection: {name: l}")
	require.NoError(t, err)
	assert.True(t, n.Several())
	assert.Empty(t, n.Entries())
}

func TestAFileSaysWhatAProcessKeeps(t *testing.T) {
	n, err := read(`
vch:
  name: n
  limits: {cpu: 4, memory: 8Gi, ephemeral-storage: 20Gi, pods: 30}
  reserved: {cpu: 500m, memory: 1Gi}
evictionPressureTransitionPeriod: 30s
containerLogMaxSize: 1Mi
imageGCHighThresholdPercent: 70
imageGCLowThresholdPercent: 60
imageMinimumGCAge: 0s
imageLimits: {bytes: 16Gi}
guestImage: null
`)
	require.NoError(t, err)
	assert.EqualValues(t, 4, n.VCH.Limits.Cpu().Value())
	assert.EqualValues(t, 20<<30, n.VCH.Limits.StorageEphemeral().Value())
	assert.EqualValues(t, 500, n.VCH.Reserved.Cpu().MilliValue())
	assert.Equal(t, 30*time.Second, n.EvictionPressureTransitionPeriod.Duration)
	assert.EqualValues(t, 1<<20, n.ContainerLogMaxSize.Value())
	assert.EqualValues(t, 70, n.ImageGCHighThresholdPercent)
	assert.Zero(t, n.ImageMinimumGCAge.Duration, "0 is not a default")
	limit := n.ImageLimits["bytes"]
	assert.EqualValues(t, 16<<30, limit.Value())
	assert.Equal(t, config.AccelAuto, n.Accelerator, "what is not said has its default")
}

func TestObjectsAreEntriesOfTheList(t *testing.T) {
	object, err := os.ReadFile("../examples/virtualcontainerhost.yaml")
	require.NoError(t, err)
	n, err := read("guestListen: \":7443\"\nnamespace: vic-system\nvchs: [{name: here}]\n---\n" + string(object) + "\n---\n# nothing\n---\n" +
		strings.ReplaceAll(string(object), "vic-vsphere-1", "vic-vsphere-2") + "status: {nodeName: as the cluster has it}\n")
	require.NoError(t, err)
	require.Len(t, n.VCHs, 3)
	assert.Equal(t, "vic-vsphere-2", n.VCHs[2].Name)
	assert.Equal(t, "shared-1", n.VCHs[1].VSphere.Datastore)
	assert.Equal(t, config.DeletionDrain, n.VCHs[1].Policy(n))
	assert.Equal(t, config.DeletionRefuse, n.VCHs[0].Policy(n))

	_, err = read("guestListen: \":7443\"\n---\n" + string(object))
	require.ErrorContains(t, err, "VirtualContainerHost vic-vsphere-1: spec.vsphere.credentialsSecret: namespace of the process is missing")
	_, err = read("namespace: v\n---\n" + strings.Replace(string(object), "gateway: 192.0.2.1", "gateway: 198.51.100.1", 1))
	require.ErrorContains(t, err, "VirtualContainerHost vic-vsphere-1: spec.vsphere.gateway: 198.51.100.1 is outside the subnet")
	require.ErrorContains(t, err, "spec.vsphere.guestListen: missing")
}
