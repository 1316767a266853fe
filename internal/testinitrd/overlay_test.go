package testinitrd_test

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/internal/testinitrd"
)

// TestTheProgramsExist finds a program that was moved, before the tests on QEMU do.
func TestTheProgramsExist(t *testing.T) {
	for _, pkg := range []string{
		testinitrd.VSphereGuest, testinitrd.HostileInit, testinitrd.HypervisorGuest, testinitrd.Guest,
	} {
		name, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.Name}}", pkg).CombinedOutput()
		require.NoError(t, err, "%s: %s", pkg, name)
		assert.Equal(t, "main\n", string(name), pkg)
	}
}
