package disk_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/disk"
	"github.com/virtual-kubelet/vic/guest/process"
)

const diskBytes = 8 << 20

var errFormatted = errors.New("formatted")

// formatter notes that a disk would have been formatted, and goes no further.
type formatter struct{ runs int }

func (f *formatter) Run(context.Context, process.Spec) (string, error) {
	f.runs++
	return "", errFormatted
}

// holding is a disk with a few bytes that are not zero.
func holding(t *testing.T, at int64, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, f.Truncate(diskBytes))
	_, err = f.WriteAt([]byte(text), at)
	require.NoError(t, err)
	return path
}

func TestOnlyABlankVolumeIsFormatted(t *testing.T) {
	f := &formatter{}
	require.ErrorIs(t, disk.Volume(t.Context(), f, holding(t, 0, ""), t.TempDir(), false), errFormatted)
	require.Equal(t, 1, f.runs)
}

func TestAVolumeWithAnythingElseIsLeftAsItIs(t *testing.T) {
	tests := map[string]struct {
		at   int64
		text string
	}{
		"XFS":                              {0, "XFSB"},
		"a partition table":                {510, "\x55\xaa"},
		"LUKS":                             {0, "LUKS\xba\xbe"},
		"LVM":                              {512, "LABELONE"},
		"swap":                             {4086, "SWAPSPACE2"},
		"btrfs":                            {0x10040, "_BHRfS_M"},
		"one bit in the first MiB":         {1<<20 - 1, "\x01"},
		"a GPT's copy at the end":          {diskBytes - 512, "EFI PART"},
		"an array's superblock at the end": {diskBytes - 64<<10, "\xfc\x4e\x2b\xa9"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := &formatter{}
			require.ErrorIs(t, disk.Volume(t.Context(), f, holding(t, tt.at, tt.text), t.TempDir(), false), disk.ErrUnknownContent)
			require.Zero(t, f.runs)
		})
	}
}

func TestAVolumeThatCannotBeReadIsNotFormatted(t *testing.T) {
	for name, path := range map[string]string{"it is missing": filepath.Join(t.TempDir(), "none"), "it is a directory": t.TempDir()} {
		t.Run(name, func(t *testing.T) {
			f := &formatter{}
			require.Error(t, disk.Volume(t.Context(), f, path, t.TempDir(), false))
			require.Zero(t, f.runs)
		})
	}
	empty := filepath.Join(t.TempDir(), "empty")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	f := &formatter{}
	require.Error(t, disk.Volume(t.Context(), f, empty, t.TempDir(), false))
	require.Error(t, disk.Volume(t.Context(), f, holding(t, 0, ""), t.TempDir(), true), "a blank one that is to be read only")
	require.Zero(t, f.runs)
}
