package config_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/portlayer/podvm/rundir"
)

func TestDefaultsAreRight(t *testing.T) {
	n := config.DefaultNode()
	require.NoError(t, n.CheckProcess())
	assert.EqualValues(t, rundir.DefaultSegments, n.ContainerLogMaxFiles)
	n.VCH = &config.Entry{Name: "n"}
	n.SetDefaults()
	require.NoError(t, n.Check())
	again := n.DeepCopy()
	again.SetDefaults()
	assert.Equal(t, n, again, "they are set once")
}

func TestWhatIsSaidIsNoDefault(t *testing.T) {
	n := config.DefaultNode()
	n.VCH = &config.Entry{Name: "n", VCH: config.VCH{
		NodeName: "m", Port: 8443, Taints: &[]corev1.Taint{}, VSphere: &config.VSphere{Directory: "d"},
	}}
	n.SetDefaults()
	assert.Equal(t, "m", n.VCH.NodeName)
	assert.EqualValues(t, 8443, n.VCH.Port)
	assert.Empty(t, *n.VCH.Taints)
	assert.Equal(t, "d", n.VCH.VSphere.Directory)
	assert.Nil(t, n.VCH.QEMU, "a VCH has one hypervisor")
}

func TestAnObjectIsKeptByWhoMadeIt(t *testing.T) {
	spec := &config.VCH{Labels: map[string]string{"rack": "r1"}}
	e := config.OfObject("n", spec)
	e.Labels["rack"] = "r2"
	assert.Equal(t, "r1", spec.Labels["rack"])
	assert.Empty(t, spec.NodeName, "its defaults are the entry's")
	assert.Equal(t, "spec.vsphere", e.FieldPath("vsphere"))
}

func TestThePolicyOfAnEntryWinsOverTheProcesss(t *testing.T) {
	tests := map[string]struct{ entry, process, want config.DeletionPolicy }{
		"its own":       {config.DeletionOrphan, config.DeletionDrain, config.DeletionOrphan},
		"the process's": {"", config.DeletionDrain, config.DeletionDrain},
		"neither":       {"", "", config.DeletionRefuse},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e := config.Entry{VCH: config.VCH{DeletionPolicy: tt.entry}}
			assert.Equal(t, tt.want, e.Policy(&config.Node{DeletionPolicy: tt.process}))
		})
	}
}

func TestEveryThingThatIsWrongIsSaidAtOnce(t *testing.T) {
	_, err := read("accel: warp\ndir: \"\"\nvchs: [{name: a, port: -1}, {name: a, subnet: x}]")
	var all config.Errors
	require.ErrorAs(t, err, &all)
	var paths []string
	for _, one := range all {
		paths = append(paths, one.Path)
	}
	assert.Equal(t, []string{"dir", "accel", "vchs[0].port", "vchs[1].subnet", "vchs[1]"}, paths)
	require.EqualError(t, all[2], "vchs[0].port: -1 is not a port (0 to 65535)")
}
