package v1alpha1_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"github.com/virtual-kubelet/vic/api/v1alpha1"
	"github.com/virtual-kubelet/vic/config"
)

func TestAFileKnowsTheObjectByItsKind(t *testing.T) {
	assert.Equal(t, config.ObjectAPIVersion, v1alpha1.GroupVersion.String())
	text, err := os.ReadFile("../../examples/virtualcontainerhost.yaml")
	require.NoError(t, err)
	var vch v1alpha1.VirtualContainerHost
	require.NoError(t, yaml.UnmarshalStrict(text, &vch))
	assert.Equal(t, config.ObjectKind, vch.Kind)
	e := config.OfObject(vch.Name, &vch.Spec)
	require.NoError(t, e.CheckObject(), "the example that users begin with is right")
	assert.Equal(t, vch.Node(), e.NodeName)
	vch.Spec.NodeName = "other"
	assert.Equal(t, "other", vch.Node())

	n, err := config.Parse(text)
	require.NoError(t, err)
	require.Len(t, n.VCHs, 1)
	n.SetDefaults()
	assert.Equal(t, e.VCH, n.VCHs[0].VCH, "as an object and in a file it says the same")
}
