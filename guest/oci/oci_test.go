package oci_test

import (
	"os"
	"path/filepath"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/oci"
	"github.com/virtual-kubelet/vic/guest/wire"
)

// image has accounts in /etc, which is reached by an absolute link as in some images.
func image(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(root, "store"), 0o755))
	require.NoError(t, os.Symlink("/store", filepath.Join(root, "etc")))
	for name, content := range map[string]string{
		"passwd": "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\nbad:x:-1:0::/:\n\n# comment\n",
		"group":  "root:x:0:\napp:x:1001:\nwheel:x:10:root,app\nadm:x:4:app\nself:x:1001:app\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(root, "store", name), []byte(content), 0o644))
	}
	return root
}

func TestLookUpUser(t *testing.T) {
	root := image(t)
	tests := map[string]struct {
		user string
		want specs.User
	}{
		"no user is root":                               {"", specs.User{AdditionalGids: []uint32{10}}},
		"a name has its groups":                         {"app", specs.User{UID: 1000, GID: 1001, AdditionalGids: []uint32{10, 4}}},
		"a known number has its groups":                 {"1000", specs.User{UID: 1000, GID: 1001, AdditionalGids: []uint32{10, 4}}},
		"an unknown number has group 0":                 {"4242", specs.User{UID: 4242}},
		"a group is taken by name, without others":      {"app:wheel", specs.User{UID: 1000, GID: 10}},
		"a group is taken by number, known or not":      {"app:77", specs.User{UID: 1000, GID: 77}},
		"numbers need no accounts":                      {"65532:65532", specs.User{UID: 65532, GID: 65532}},
		"a colon without a group is as without a colon": {"app:", specs.User{UID: 1000, GID: 1001, AdditionalGids: []uint32{10, 4}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := oci.LookUpUser(root, tt.user)
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
		})
	}
	for _, user := range []string{"nobody", "app:nogroup", "bad", "-1", "4294967295"} {
		t.Run("there is no "+user, func(t *testing.T) {
			_, err := oci.LookUpUser(root, user)
			require.ErrorIs(t, err, oci.ErrUser)
		})
	}
}

func TestAnImageWithoutAccounts(t *testing.T) {
	got, err := oci.LookUpUser(t.TempDir(), "12:34")
	require.NoError(t, err)
	require.Equal(t, specs.User{UID: 12, GID: 34}, got)
}

func TestSpec(t *testing.T) {
	s, err := oci.Spec(oci.Config{
		Container: wire.Container{
			Args: []string{"/bin/app"}, Env: []string{"HOSTNAME=mine", "A=1"}, ReadOnlyRoot: true,
			Resources: wire.Resources{MemoryBytes: 1 << 20, CPUMilli: 250, CPURequestMilli: 500},
		},
		Rootfs: "/root", CgroupPath: "/pod/app", Hostname: "host",
		Binds: []oci.Bind{{Source: "/b", Target: "/data/deep", ReadOnly: true, Options: []string{"noexec", "nosuid"}}, {Source: "/a", Target: "/data"}},
	})
	require.NoError(t, err)
	assert.Equal(t, []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=mine", "A=1"}, s.Process.Env)
	assert.Equal(t, "/", s.Process.Cwd)
	assert.True(t, s.Root.Readonly)
	assert.Equal(t, int64(1<<20), *s.Linux.Resources.Memory.Limit)
	assert.Equal(t, int64(25_000), *s.Linux.Resources.CPU.Quota)
	assert.Equal(t, uint64(512), *s.Linux.Resources.CPU.Shares)
	for _, ns := range s.Linux.Namespaces {
		assert.NotContains(t, []specs.LinuxNamespaceType{specs.NetworkNamespace, specs.UTSNamespace, specs.IPCNamespace}, ns.Type)
	}
	n := len(s.Mounts)
	assert.Equal(t, "/data", s.Mounts[n-2].Destination, "what is above comes first")
	assert.Equal(t, specs.Mount{
		Destination: "/data/deep", Type: "bind", Source: "/b", Options: []string{"rbind", "rprivate", "ro", "noexec", "nosuid"},
	}, s.Mounts[n-1])
}

func TestExecProcess(t *testing.T) {
	p, err := oci.ExecProcess(wire.Container{Args: []string{"/bin/app"}, WorkingDir: "/srv"}, specs.User{UID: 7}, "host",
		wire.Exec{Args: []string{"sh"}, TTY: true, Size: wire.TerminalSize{Columns: 80, Rows: 24}})
	require.NoError(t, err)
	assert.Equal(t, []string{"sh"}, p.Args)
	assert.Equal(t, "/srv", p.Cwd)
	assert.Equal(t, uint32(7), p.User.UID)
	assert.True(t, p.Terminal)
	assert.Contains(t, p.Env, "TERM=xterm")
	assert.Equal(t, &specs.Box{Width: 80, Height: 24}, p.ConsoleSize)
}

func TestVolumesThatAreDevices(t *testing.T) {
	device, err := oci.Device("/dev/null", "/dev/disk")
	require.NoError(t, err)
	fixed, err := oci.Device("/dev/zero", "/dev/fixed")
	require.NoError(t, err)
	require.Equal(t, "/dev/disk", device.Path)
	config := oci.Config{
		Container: wire.Container{Args: []string{"x"}}, Volumes: []specs.LinuxDevice{device, fixed}, OnlyRead: map[string]bool{"/dev/fixed": true},
	}
	spec, err := oci.Spec(config)
	require.NoError(t, err)
	assert.Equal(t, config.Volumes, spec.Linux.Devices)
	rules := spec.Linux.Resources.Devices
	require.Len(t, rules, 3)
	assert.Equal(t, specs.LinuxDeviceCgroup{Access: "rwm"}, rules[0], "no others")
	for i, access := range []string{"rwm", "rm"} {
		assert.True(t, rules[i+1].Allow)
		assert.Equal(t, access, rules[i+1].Access)
		assert.Equal(t, config.Volumes[i].Minor, *rules[i+1].Minor)
	}
}
