package simulatorcmd_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/cmd/vic/internal/clitest"
	"github.com/virtual-kubelet/vic/cmd/vic/internal/simulatorcmd"
	"github.com/virtual-kubelet/vic/standalone"
)

func TestOnlyVicUpStartsTheSimulator(t *testing.T) {
	cmd := simulatorcmd.NewCommand()
	assert.True(t, cmd.Hidden)
	assert.Equal(t, standalone.SimulatorCommand, cmd.Use)
	for _, flag := range []string{"dir", "accel", "boot-iso"} { // standalone sets them
		assert.NotNil(t, cmd.Flags().Lookup(flag), flag)
	}
	_, err := clitest.Execute(t, cmd, "--dir", t.TempDir())
	require.ErrorContains(t, err, "a simulated vCenter is started by vic up --vsphere-simulator")
}
