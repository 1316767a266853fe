package main

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"

	"github.com/virtual-kubelet/vic/api/v1alpha1"
	"github.com/virtual-kubelet/vic/controllers"
)

// parseNodeFile is readNodeFile of a text.
func parseNodeFile(t *testing.T, text string) (*nodeFile, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "node.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return readNodeFile(path)
}

func TestFleetFile(t *testing.T) {
	const controller = "guestListen: \":7443\"\ncontroller: {namespace: v}\n"
	tests := map[string]struct{ text, says string }{
		"with a node and a list":             {"nodeName: n\nvchs: [{nodeName: m}]", "only one can be set"},
		"with a list and the cluster's":      {controller + "vchs: [{nodeName: m}]", "only one can be set"},
		"with a VCH without a name":          {"vchs: [{port: 1}]", "vchs[0] : nodeName is missing"},
		"with a name that is there twice":    {"vchs: [{nodeName: m}, {nodeName: m}]", "vchs[1]: nodeName m is there twice"},
		"with a port that is there twice":    {"vchs: [{nodeName: a, port: 99}, {nodeName: b, port: 99}]", "port 99 is that of a"},
		"with a bad label of one":            {"vchs: [{nodeName: a}, {nodeName: b, labels: {\"a b\": c}}]", "vchs[1] b: labels"},
		"with a key of no VCH":               {"vchs: [{nodeName: a, accel: kvm}]", "accel"},
		"with a VCH without a place for it":  {"vchs: [{nodeName: a, subnet: 192.0.2.0/24, vsphere: {address: v, user: u, passwordFile: /p, bootISO: i, network: n}}]", "vsphere.guestListen is missing"},
		"with a controller without guests":   {"controller: {namespace: v}", "guestListen is missing"},
		"with a controller without a place":  {"guestListen: \":1\"\ncontroller: {}", "controller.namespace is missing"},
		"with a bad place for guests":        {"guestListen: here\ncontroller: {namespace: v}", "guestListen"},
		"with a bad place for probes":        {controller + "healthListen: here", "healthListen"},
		"with an election without a lease":   {controller + "leaderElection: {namespace: v}", "leaderElection.name is missing"},
		"with an election of a bad name":     {controller + "leaderElection: {namespace: V, name: l}", "leaderElection.namespace"},
		"with a bad deletion policy":         {"deletionPolicy: Maybe\nvchs: [{nodeName: m}]", `deletionPolicy "Maybe"`},
		"with taint and taints":              {"nodeName: n\ntaint: false\ntaints: []", "only one can be set"},
		"with a taint of a bad effect":       {"nodeName: n\ntaints: [{key: k, effect: Sometimes}]", `effect "Sometimes"`},
		"with a taint of a bad key":          {"nodeName: n\ntaints: [{key: \"a b\", effect: NoSchedule}]", "taints"},
		"with a VCH's bad taint":             {"vchs: [{nodeName: a, taints: [{key: k}]}]", "vchs[0] a: taints"},
		"with a VCH whose port can't be":     {"vchs: [{nodeName: a, port: 70000}]", "port 70000"},
		"with a label of vic's own":          {"nodeName: n\nlabels: {type: mine}", "labels: type is set by vic"},
		"with one VCH for two nodes":         {twoPools("a", "b", "vch: same"), "vchs[1] b: vsphere.vch same at v is that of a"},
		"with one directory for two VCHs":    {twoPools("a", "b", "directory: same"), "vchs[1] b: vsphere.directory same"},
		"with a VCH whose size is no number": {"vchs: [{nodeName: a, memory: much}]", "memory"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := parseNodeFile(t, tt.text)
			var misuse *usageError
			require.ErrorAs(t, err, &misuse)
			require.ErrorContains(t, err, tt.says)
		})
	}
	f, err := parseNodeFile(t, controller+"leaderElection: {namespace: v, name: l}")
	require.NoError(t, err)
	assert.True(t, f.isFleet())
	f, err = parseNodeFile(t, "vchs: [{nodeName: a, taints: []}, {nodeName: b}]")
	require.NoError(t, err)
	require.Len(t, f.vchs(), 2)
	assert.Empty(t, f.VCHs[0].taints())
	assert.Len(t, f.VCHs[1].taints(), 1)
	assert.Zero(t, f.VCHs[0].Port, "a free one")
}

// twoPools is a file with two nodes on one vCenter.
func twoPools(one, two, more string) string {
	pool := func(name string) string {
		return "- {nodeName: " + name + ", subnet: 192.0.2.0/24, vsphere: {address: v, user: u, passwordFile: /p, bootISO: i, network: n, " +
			"gateway: 192.0.2.1, advertiseAddresses: [\"192.0.2.2:1\"], " + more + "}}\n"
	}
	return "guestListen: \":1\"\nvchs:\n" + pool(one) + pool(two)
}

func TestAVCHStaysWhereItsPodsAre(t *testing.T) {
	f, err := parseNodeFile(t, twoPools("a", "b", "pool: p"))
	require.NoError(t, err)
	from := &f.VCHs[0]
	for key, change := range map[string]func(*vchFile, *vsphereFile){
		"subnet":             func(n *vchFile, _ *vsphereFile) { n.Subnet = "192.0.3.0/24" },
		"vsphere.vch":        func(_ *vchFile, v *vsphereFile) { v.VCH = "x" },
		"vsphere.address":    func(_ *vchFile, v *vsphereFile) { v.Address = "x" },
		"vsphere.datacenter": func(_ *vchFile, v *vsphereFile) { v.Datacenter = "x" },
		"vsphere.folder":     func(_ *vchFile, v *vsphereFile) { v.Folder = "x" },
		"vsphere.datastore":  func(_ *vchFile, v *vsphereFile) { v.Datastore = "x" },
		"vsphere.directory":  func(_ *vchFile, v *vsphereFile) { v.Directory = "x" },
		"vsphere can't come": func(n *vchFile, _ *vsphereFile) { n.VSphere = nil },
	} {
		to, v := *from, *from.VSphere
		to.VSphere = &v
		change(&to, &v)
		require.ErrorContains(t, to.moved(from), key)
	}
	to, v := *from, *from.VSphere
	to.VSphere, to.CPU, v.Pool = &v, 4, "q"
	require.NoError(t, to.moved(from))
}

// TestAVCHOfTheClusterSaysAllThatAFileCan finds a key of the file that the object has and nobody carries over.
func TestAVCHOfTheClusterSaysAllThatAFileCan(t *testing.T) {
	var vch v1alpha1.VirtualContainerHost
	spec := reflect.ValueOf(&vch.Spec.VSphere).Elem()
	for i := range spec.NumField() {
		switch f := spec.Field(i); f.Kind() {
		case reflect.String:
			f.SetString("set")
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Int32, reflect.Int64:
			f.SetInt(9)
		case reflect.Slice:
			f.Set(reflect.ValueOf([]string{"set"}))
		case reflect.Pointer:
			f.Set(reflect.ValueOf(&v1alpha1.Tags{Category: "set"}))
		default:
			require.Fail(t, "a field of a new kind", spec.Type().Field(i).Name)
		}
	}
	n, err := vchOf(&vch, controllers.Credentials{Username: "u"})
	require.NoError(t, err)
	// These come from the Secret, or are the process's, or are the name of the object.
	elsewhere := []string{"VCH", "PasswordFile", "CAFile", "GuestListen", "password", "ca"}
	file := reflect.ValueOf(n.VSphere).Elem()
	for i := range file.NumField() {
		name := file.Type().Field(i).Name
		assert.NotEqual(t, slices.Contains(elsewhere, name), !file.Field(i).IsZero(), name)
	}
}

// TestAVCHOfTheClusterIsWhatAFileWouldSay takes the example that users begin with.
func TestAVCHOfTheClusterIsWhatAFileWouldSay(t *testing.T) {
	text, err := os.ReadFile("../../examples/virtualcontainerhost.yaml")
	require.NoError(t, err)
	var vch v1alpha1.VirtualContainerHost
	require.NoError(t, yaml.UnmarshalStrict(text, &vch))
	password := func(context.Context) (string, error) { return "secret", nil }
	n, err := vchOf(&vch, controllers.Credentials{Username: "u", CA: []byte("ca"), Password: password})
	require.NoError(t, err)
	f, err := parseNodeFile(t, "guestListen: \":7443\"\ncontroller: {namespace: v}")
	require.NoError(t, err)
	require.NoError(t, f.checkVCH(n))

	assert.Equal(t, "vic-vsphere-1", n.NodeName)
	assert.EqualValues(t, 16, n.CPU)
	assert.Equal(t, "64Gi", n.Memory)
	assert.EqualValues(t, 100, n.Pods)
	assert.Equal(t, map[string]string{"rack": "r1"}, n.Labels)
	target := n.VSphere.target()
	assert.Equal(t, "u", target.User)
	assert.Equal(t, []byte("ca"), target.CA)
	got, err := target.Password(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "secret", got)
	config := n.VSphere.config(n.NodeName, nil)
	assert.Equal(t, "vic-vsphere-1", config.Name)
	assert.Equal(t, "/DC0/host/C0/Resources/vic", config.Pool)
	assert.Equal(t, []string{"192.0.2.10:7443"}, n.VSphere.AdvertiseAddresses)

	for limit, says := range map[corev1.ResourceName]string{
		corev1.ResourceCPU: "no whole number", corev1.ResourceMemory: "not above zero", "nvidia.com/gpu": "none of cpu, memory, pods",
	} {
		bad := vch.DeepCopy()
		amount := resource.MustParse("500m")
		if limit == corev1.ResourceMemory {
			amount = resource.MustParse("0")
		}
		bad.Spec.Limits = corev1.ResourceList{limit: amount}
		_, err := vchOf(bad, controllers.Credentials{})
		require.ErrorContains(t, err, says)
	}
}
