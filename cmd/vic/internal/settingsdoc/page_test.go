package settingsdoc_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/cmd/vic/internal/settingsdoc"
)

func TestThePageIsWhatTheProgramSays(t *testing.T) {
	want, err := settingsdoc.Page("../../../../config")
	require.NoError(t, err)
	got, err := os.ReadFile("../../../../docs/settings.md")
	require.NoError(t, err)
	require.Equal(t, want, string(got), "make generate writes it")
	for _, row := range []string{
		"| `--accel STRING` | `auto` | `accel` | ", "| `--pods N` | `0` | most pods", "| `dir` | `/var/lib/vic` | ", "| `imageGCPeriod` | `5m` | ",
		"| `--kubeconfig FILE` |  | `kubeconfig` | ", "| `GOVC_URL` | of `vic vch`, where the file leaves out `vsphere.address` |",
		"| `-o, --output STRING` | `table` | form of the result: table, json |", "| `nodeName` |  | `nodeName` is the name of the node.",
	} {
		assert.Contains(t, want, row)
	}
	assert.NotContains(t, want, "simulated-vcenter", "it is not for people")
	assert.NotContains(t, want, "+kubebuilder")
}
