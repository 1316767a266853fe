package disk_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/disk"
)

// finder has a SCSI disk sda with serial number "one", and a virtio disk vda with "two".
func finder(t *testing.T) disk.Finder {
	t.Helper()
	f := disk.Finder{Sys: t.TempDir(), Dev: t.TempDir()}
	write(t, filepath.Join(f.Sys, "block/sda/device/vpd_pg80"), "\x00\x80\x00\x03one")
	write(t, filepath.Join(f.Sys, "block/vda/serial"), "two")
	write(t, filepath.Join(f.Sys, "block/loop0/size"), "0")
	write(t, filepath.Join(f.Sys, "class/scsi_host/host0/scan"), "")
	write(t, filepath.Join(f.Dev, "sda"), "")
	write(t, filepath.Join(f.Dev, "vda"), "")
	return f
}

func write(t *testing.T, path, content string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
}

func TestFindByASerialNumber(t *testing.T) {
	f := finder(t)
	for serial, name := range map[string]string{"one": "sda", "two": "vda"} {
		device, err := f.Find(t.Context(), serial)
		require.NoError(t, err)
		require.Equal(t, filepath.Join(f.Dev, name), device)
	}
}

func TestFindByASCSITarget(t *testing.T) {
	f := disk.Finder{Sys: t.TempDir(), Dev: t.TempDir()}
	for name, address := range map[string]string{"sda": "2:0:10:0", "sdb": "2:0:1:0"} {
		write(t, filepath.Join(f.Sys, "block", name, "device/vpd_pg80"), "\x00\x80\x00\x03own")
		write(t, filepath.Join(f.Dev, name), "")
		device := filepath.Join(f.Sys, "block", name, "device")
		require.NoError(t, os.Rename(device, filepath.Join(f.Sys, address)))
		require.NoError(t, os.Symlink("../../"+address, device))
	}
	for serial, name := range map[string]string{"one@1": "sdb", "ten@10": "sda"} {
		device, err := f.Find(t.Context(), serial)
		require.NoError(t, err)
		require.Equal(t, filepath.Join(f.Dev, name), device)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := f.Find(ctx, "own@7")
	require.ErrorIs(t, err, disk.ErrNotFound)
}

func TestFindWaitsForADiskThatIsAdded(t *testing.T) {
	f := finder(t)
	found := make(chan string, 1)
	go func() {
		device, _ := f.Find(t.Context(), "three")
		found <- device
	}()
	scan := filepath.Join(f.Sys, "class/scsi_host/host0/scan")
	require.Eventually(t, func() bool { b, _ := os.ReadFile(scan); return string(b) == "- - -" },
		10*time.Second, time.Millisecond, "controllers are asked to look again")
	write(t, filepath.Join(f.Dev, "sdb"), "")
	write(t, filepath.Join(f.Sys, "block/sdb/device/vpd_pg80"), "\x00\x80\x00\x08three   ")
	require.Equal(t, filepath.Join(f.Dev, "sdb"), <-found)
}

func TestFindRefuses(t *testing.T) {
	f := finder(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	for _, serial := range []string{"absent", "", "../one", "a b"} {
		_, err := f.Find(ctx, serial)
		require.ErrorIs(t, err, disk.ErrNotFound, serial)
	}
}
