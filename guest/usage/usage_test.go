package usage_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/usage"
	"github.com/virtual-kubelet/vic/guest/wire"
)

// write makes files of a directory as a kernel shows them.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o700))
	for name, content := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
}

func cgroup(t *testing.T, change map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"cpu.stat":       "usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\n",
		"memory.stat":    "anon 4096\nfile 8192\ninactive_file 2048\npgfault 7\npgmajfault 2\n",
		"memory.current": "10240\n",
		"pids.current":   "3\n",
	})
	write(t, dir, change)
	return dir
}

func TestCgroup(t *testing.T) {
	tests := map[string]struct {
		change map[string]string
		want   wire.Usage
	}{
		"the working set leaves out what can be dropped": {nil, wire.Usage{
			CPU: 1500 * time.Millisecond, MemoryBytes: 10240, WorkingSetBytes: 8192, RSSBytes: 4096,
			PageFaults: 7, MajorPageFaults: 2, Processes: 3,
		}},
		"a working set is never below nothing": {
			map[string]string{"memory.stat": "inactive_file 99999\n", "memory.current": "1\n"},
			wire.Usage{CPU: 1500 * time.Millisecond, MemoryBytes: 1, Processes: 3},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := usage.OfCgroup(cgroup(t, tt.change))
			require.NoError(t, err)
			assert.Equal(t, tt.want, got)
		})
	}
}

func TestCgroupThatIsGone(t *testing.T) {
	_, err := usage.OfCgroup(filepath.Join(t.TempDir(), "gone"))
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = usage.OfCgroup(cgroup(t, map[string]string{"memory.current": "much\n"}))
	require.ErrorContains(t, err, "memory.current")
}

func TestInterfaces(t *testing.T) {
	sys := t.TempDir()
	for _, name := range []string{"lo", "eth0"} {
		write(t, filepath.Join(sys, "class", "net", name, "statistics"), map[string]string{
			"rx_bytes": "100\n", "tx_bytes": "20\n", "rx_errors": "3\n", "tx_errors": "0\n",
		})
	}
	got, err := usage.OfInterfaces(sys)
	require.NoError(t, err)
	assert.Equal(t, []wire.InterfaceStats{{Name: "eth0", RxBytes: 100, TxBytes: 20, RxErrors: 3}}, got)
}

func TestFilesystem(t *testing.T) {
	got, err := usage.OfFilesystem(t.TempDir())
	require.NoError(t, err)
	assert.Positive(t, got.CapacityBytes)
	assert.LessOrEqual(t, got.UsedBytes+got.AvailableBytes, got.CapacityBytes)
	_, err = usage.OfFilesystem(filepath.Join(t.TempDir(), "gone"))
	require.ErrorIs(t, err, os.ErrNotExist)
}
