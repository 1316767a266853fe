package qemu

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/portlayer"
)

func testParts(t *testing.T, accel Accel, taps bool) vmParts {
	t.Helper()
	file := func() *os.File {
		f, err := os.Create(filepath.Join(t.TempDir(), "f"))
		require.NoError(t, err)
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	parts := vmParts{
		name: "vic-uid", accel: accel, kernel: file(), initrd: file(), alive: file(), qmp: file(), guest: file(),
		disks: []*os.File{file(), file()},
		record: &record{UUID: "u", Spec: portlayer.Spec{
			Size: portlayer.Size{VCPUs: 2, MemoryBytes: 130*mib - 1},
			Disks: []portlayer.Disk{
				{Kind: portlayer.DiskScratch, Serial: "scratch", SizeBytes: mib},
				{Kind: portlayer.DiskImage, Serial: "image0", Ref: "r"},
			},
			NICs: []portlayer.NIC{{
				MAC: "02:00:00:00:00:01", Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.2.15/24")}, Gateways: []netip.Addr{netip.MustParseAddr("10.0.2.2")},
				MTU: 1400,
			}},
		}},
	}
	if taps {
		parts.taps = []*os.File{file()}
	}
	return parts
}

func TestCommandLine(t *testing.T) {
	tests := map[string]struct {
		accel Accel
		taps  bool
		want  []string
		not   []string
	}{
		"translation has a bounded buffer and a fast boot": {
			accel: AccelTCG, want: []string{"-accel tcg,tb-size=128 -cpu max", "mitigations=off"}, not: []string{"kvm"},
		},
		"KVM keeps the kernel's defences": {
			accel: AccelKVM, want: []string{"-accel kvm -cpu host"}, not: []string{"mitigations", "nokaslr", "init_on_alloc"},
		},
		"a tap is passed by descriptor": {
			accel: AccelKVM, taps: true, want: []string{"tap,id=net0,fd=10,vhost=off"}, not: []string{"user,"},
		},
		"without a tap the network is QEMU's own": {
			accel: AccelKVM, want: []string{"user,id=net0,ipv6=off,net=10.0.2.0/24,host=10.0.2.2"}, not: []string{"tap,"},
		},
		"every VM is confined and boots what it is given": {
			accel: AccelTCG,
			want: []string{
				"-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny", "-nodefaults", "-no-user-config",
				"-no-reboot -no-shutdown", "dump-guest-core=off", "-kernel /dev/fd/4", "-initrd /dev/fd/5", "-m 130M", "-smp 2", "-uuid u",
				"virtio-net-pci,netdev=net0,mac=02:00:00:00:00:01,romfile=,host_mtu=1400",
			},
		},
		"images are read-only and shared, scratch disks give space back": {
			accel: AccelTCG,
			want: []string{
				"fd=8,set=1,opaque=" + diskID("scratch"), "fd=9,set=2,opaque=" + diskID("image0"),
				"node-name=" + diskID("scratch") + ",driver=raw,read-only=off,file.driver=file,file.filename=/dev/fdset/1,discard=unmap",
				"node-name=" + diskID("image0") + ",driver=raw,read-only=on,file.driver=file,file.filename=/dev/fdset/2",
				"serial=image0,share-rw=on", "serial=scratch,share-rw=off",
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			line := newCommandLine(testParts(t, tt.accel, tt.taps))
			args := strings.Join(line.args, " ")
			for _, want := range tt.want {
				assert.Contains(t, args, want)
			}
			for _, not := range tt.not {
				assert.NotContains(t, args, not)
			}
		})
	}
}

func TestDiskIDsFitQEMU(t *testing.T) {
	long := strings.Repeat("a", 36)
	assert.LessOrEqual(t, len(diskID(long)), 31, "a node name's length")
	assert.NotEqual(t, diskID(long), diskID(long[1:]))
}

func TestNestMakesObjectsOfDottedKeys(t *testing.T) {
	got := nest([]property{{"driver", "raw"}, {"file.driver", "file"}, {"file.filename", "/x"}, {"read-only", true}})
	assert.Equal(t, map[string]any{
		"driver": "raw", "read-only": true, "file": map[string]any{"driver": "file", "filename": "/x"},
	}, got)
}

func TestCheckSpec(t *testing.T) {
	good := portlayer.Spec{
		ID:    "c0ffee00-0000-4000-8000-000000000000",
		Size:  portlayer.Size{VCPUs: 1, MemoryBytes: 128 * mib},
		Disks: []portlayer.Disk{{Kind: portlayer.DiskScratch, Serial: "scratch", SizeBytes: mib}},
		NICs:  []portlayer.NIC{{MAC: "02:00:00:00:00:01", Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/24")}}},
	}
	require.NoError(t, checkSpec(good))
	tests := map[string]struct {
		change func(*portlayer.Spec)
		want   string
	}{
		"a UID that leaves the directory":   {func(s *portlayer.Spec) { s.ID = "../x" }, "not a name for a VM"},
		"a UID that hides":                  {func(s *portlayer.Spec) { s.ID = ".new-1" }, "not a name for a VM"},
		"no processor":                      {func(s *portlayer.Spec) { s.Size.VCPUs = 0 }, "0 processors"},
		"no memory":                         {func(s *portlayer.Spec) { s.Size.MemoryBytes = 0 }, "too few"},
		"a serial with a comma":             {func(s *portlayer.Spec) { s.Disks[0].Serial = "a,b" }, `"a,b"`},
		"a serial that is too long":         {func(s *portlayer.Spec) { s.Disks[0].Serial = strings.Repeat("a", 37) }, "1 to 36"},
		"a serial twice":                    {func(s *portlayer.Spec) { s.Disks = append(s.Disks, s.Disks[0]) }, "twice"},
		"a scratch disk without size":       {func(s *portlayer.Spec) { s.Disks[0].SizeBytes = 0 }, "no size"},
		"a disk of another kind":            {func(s *portlayer.Spec) { s.Disks[0].Kind = "floppy" }, "unknown kind"},
		"an image that is a path":           {func(s *portlayer.Spec) { s.Disks[0] = imageDisk("../../etc/passwd") }, "not a disk of this VCH"},
		"more disks than a controller has":  {func(s *portlayer.Spec) { s.Disks = slices.Repeat(s.Disks, 201) }, "201 disks"},
		"a MAC address with QEMU's options": {func(s *portlayer.Spec) { s.NICs[0].MAC = "02:00:00:00:00:01,x" }, "not a MAC"},
		"an IPv6 address":                   {func(s *portlayer.Spec) { s.NICs[0].Addresses = []netip.Prefix{netip.MustParsePrefix("fd00::2/64")} }, "one IPv4"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := good.Clone()
			tt.change(&s)
			require.ErrorContains(t, checkSpec(s), tt.want)
		})
	}
}

func imageDisk(ref portlayer.DiskRef) portlayer.Disk {
	return portlayer.Disk{Kind: portlayer.DiskImage, Serial: "image0", Ref: ref}
}
