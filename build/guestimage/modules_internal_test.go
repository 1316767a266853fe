package guestimage

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// modulesDirectory has every module that the guest loads: overlay needs two others, the rest nothing, ext4 is built in.
func modulesDirectory(t *testing.T, without string) string {
	t.Helper()
	dir := t.TempDir()
	var dep strings.Builder
	dep.WriteString("kernel/fs/base.ko:\nkernel/fs/mid-dle.ko.xz: kernel/fs/base.ko\n")
	for _, name := range moduleNames {
		switch name {
		case without, "ext4":
		case "overlay":
			dep.WriteString("kernel/fs/overlay.ko: kernel/fs/mid-dle.ko.xz kernel/fs/base.ko\n")
		default:
			dep.WriteString("kernel/" + name + ".ko:\n")
		}
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "modules.dep"), []byte(dep.String()), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "modules.builtin"), []byte("kernel/fs/ext4.ko\n"), 0o644))
	return dir
}

func TestModulesComeAfterWhatTheyNeed(t *testing.T) {
	order, err := moduleOrder(modulesDirectory(t, ""), moduleNames)
	require.NoError(t, err)
	list := strings.Join(order, " ")
	require.Contains(t, list, "kernel/fs/base.ko kernel/fs/mid-dle.ko.xz kernel/fs/overlay.ko")
	require.NotContains(t, list, "ext4")
	require.Equal(t, "mid_dle", moduleName("kernel/fs/mid-dle.ko.xz"))
}

func TestAModuleThatTheKernelLacksIsNamed(t *testing.T) {
	_, err := moduleOrder(modulesDirectory(t, "virtio_net"), moduleNames)
	require.ErrorContains(t, err, "virtio_net")
}
