//go:build qemu

package guest_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// volumeDisk makes a disk that holds text at an offset, and nothing else.
func volumeDisk(t *testing.T, at int64, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "volume.img")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, os.Truncate(path, 64<<20))
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	require.NoError(t, err)
	defer f.Close()
	_, err = f.WriteAt([]byte(text), at)
	require.NoError(t, err)
	return path
}

// plug adds a disk to the machine.
func (v *vm) plug(serial, path string) {
	v.t.Helper()
	v.qmp(
		fmt.Sprintf(`{"execute":"blockdev-add","arguments":{"driver":"raw","node-name":%q,"file":{"driver":"file","filename":%q}}}`, serial, path),
		fmt.Sprintf(`{"execute":"device_add","arguments":{"driver":"scsi-hd","drive":%q,"serial":%q,"bus":"scsi.0"}}`, serial, serial),
	)
}

// withDisk is a pod with a volume that is a disk, and whose containers are in a group.
func withDisk(serial string, readOnly bool) wire.Pod {
	p := podOf("Never", "main")
	p.Volumes = append(p.Volumes, wire.Volume{Name: "disk", Kind: wire.VolumeDisk, Disk: serial, ReadOnly: readOnly})
	p.FSGroup = new(int64(4242))
	return p
}

// onDisk is a container that has the disk at /disk, as a user that is not root.
func onDisk(script string) wire.Container {
	c := sh("main", script)
	c.User = "1000:1000"
	c.Mounts = []wire.Mount{{Volume: "disk", Path: "/disk"}}
	return c
}

// TestADiskMovesFromPodToPod has one pod format and write a disk, and another read it.
func TestADiskMovesFromPodToPod(t *testing.T) {
	t.Parallel()
	disk := volumeDisk(t, 0, "")
	v := start(t, t.TempDir())
	v.plug("vol-1", disk)
	v.configure(withDisk("vol-1", false))
	v.run(onDisk("mkdir /disk/dir && echo hello > /disk/dir/file && stat -c '%g %a' /disk /disk/dir/file"))
	st := v.awaitState("main", wire.ContainerTerminated)
	assert.Zero(t, st.Current.ExitCode)
	assert.Equal(t, "4242 2775\n4242 644\n", v.log("main", 0))
	v.powerOff()
	requireClean(t, disk)

	v = start(t, t.TempDir())
	v.plug("vol-1", disk)
	v.configure(withDisk("vol-1", true))
	v.run(onDisk("cat /disk/dir/file; touch /disk/new 2>/dev/null || echo refused"))
	v.awaitState("main", wire.ContainerTerminated)
	assert.Equal(t, "hello\nrefused\n", v.log("main", 0))
	v.powerOff()
}

// requireClean requires a file system that was unmounted. The offsets are those of struct ext4_super_block.
func requireClean(t *testing.T, disk string) {
	t.Helper()
	f, err := os.Open(disk)
	require.NoError(t, err)
	defer f.Close()
	b := make([]byte, 1024)
	_, err = f.ReadAt(b, 1024)
	require.NoError(t, err)
	require.Equal(t, uint16(0xef53), binary.LittleEndian.Uint16(b[0x38:]), "it is ext4")
	require.Equal(t, uint16(1), binary.LittleEndian.Uint16(b[0x3a:]), "it was unmounted")
	require.Zero(t, binary.LittleEndian.Uint32(b[0x60:])&4, "its journal needs no recovery")
}

// TestADiskAsADevice has a container write a disk, whatever is on it, and another only read it.
func TestADiskAsADevice(t *testing.T) {
	t.Parallel()
	disk, other := volumeDisk(t, 510, "\x55\xaa"), volumeDisk(t, 0, "content")
	v := start(t, t.TempDir())
	v.plug("vol-1", disk)
	v.plug("vol-2", other)
	p := podOf("Never", "main")
	p.Volumes = append(p.Volumes,
		wire.Volume{Name: "raw", Kind: wire.VolumeDevice, Disk: "vol-1"},
		wire.Volume{Name: "fixed", Kind: wire.VolumeDevice, Disk: "vol-2", ReadOnly: true})
	v.configure(p)
	c := sh("main", "head -c 7 /dev/fixed && printf written | dd of=/dev/raw conv=fsync 2>/dev/null && echo +; echo x | dd of=/dev/fixed 2>/dev/null || echo refused")
	c.Devices = []wire.Device{{Volume: "raw", Path: "/dev/raw"}, {Volume: "fixed", Path: "/dev/fixed"}}
	v.run(c)
	v.awaitState("main", wire.ContainerTerminated)
	assert.Equal(t, "content+\nrefused\n", v.log("main", 0))
	v.powerOff()
	b, err := os.ReadFile(disk)
	require.NoError(t, err)
	assert.Equal(t, "written", string(b[:7]))
	assert.Equal(t, "\x55\xaa", string(b[510:512]), "nothing else was")
}

// TestADiskWithUnknownContentIsLeftAsItIs has a disk with a partition table.
func TestADiskWithUnknownContentIsLeftAsItIs(t *testing.T) {
	t.Parallel()
	disk := volumeDisk(t, 510, "\x55\xaa")
	before, err := os.ReadFile(disk)
	require.NoError(t, err)
	v := start(t, t.TempDir())
	v.plug("vol-1", disk)
	for range 2 {
		status, text := v.call("PUT", wire.PathPod, withDisk("vol-1", false), nil)
		require.Equal(t, http.StatusInternalServerError, status)
		require.Contains(t, text, "add volume disk: disk is neither blank nor formatted with ext4")
	}
	v.await(func(s wire.Snapshot) bool { return len(s.Events) > 0 && s.Events[0].Reason == "FailedMount" })
	v.powerOff()
	after, err := os.ReadFile(disk)
	require.NoError(t, err)
	require.True(t, bytes.Equal(before, after), "sha256 %x", sha256.Sum256(after))
}
