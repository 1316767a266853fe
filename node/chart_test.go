package node_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"

	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/node"
	"github.com/virtual-kubelet/vic/persona"
)

// Without images vic needs less than this, with some VCHs and a hundred pods on each.
const besidesImages = 768 << 20

func TestTheChartsMemoryIsEnoughForTheImagesThatItAllows(t *testing.T) {
	text, err := os.ReadFile("../charts/vic/values.yaml")
	require.NoError(t, err)
	var values struct {
		Config        config.Node                 `json:"config"`
		Resources     corev1.ResourceRequirements `json:"resources"`
		GoMemoryLimit string                      `json:"goMemoryLimit"`
	}
	require.NoError(t, yaml.Unmarshal(text, &values))
	images, err := node.ImageStore(&values.Config)
	require.NoError(t, err)
	limit := values.Resources.Limits.Memory().Value()
	require.Less(t, besidesImages+persona.FlatteningBytes(images.Limits), limit)

	require.Regexp(t, `^[0-9]+MiB$`, values.GoMemoryLimit)
	soft := resource.MustParse(values.GoMemoryLimit[:len(values.GoMemoryLimit)-1])
	require.LessOrEqual(t, soft.Value(), limit*9/10, "a tenth is for what Go does not count")
}
