package oci_test

import (
	"encoding/json"
	"slices"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/oci"
	"github.com/virtual-kubelet/vic/guest/wire"
)

func specOf(t *testing.T, s wire.Security) *specs.Spec {
	t.Helper()
	spec, err := oci.Spec(oci.Config{
		Container: wire.Container{Args: []string{"x"}, Security: s}, Devices: []specs.LinuxDevice{{Path: "/dev/sda"}},
	})
	require.NoError(t, err)
	return spec
}

func TestCapabilities(t *testing.T) {
	usual := specOf(t, wire.Security{}).Process.Capabilities.Bounding
	all := specOf(t, wire.Security{AddCapabilities: []string{"ALL"}}).Process.Capabilities.Bounding
	require.Len(t, usual, 14)
	require.Greater(t, len(all), 35)
	less := slices.DeleteFunc(slices.Clone(usual), func(c string) bool { return c == "CAP_CHOWN" })
	tests := map[string]struct {
		security wire.Security
		want     []string
	}{
		"dropping one":                    {wire.Security{DropCapabilities: []string{"CHOWN"}}, less},
		"a name with its prefix":          {wire.Security{DropCapabilities: []string{"cap_chown"}}, less},
		"dropping all":                    {wire.Security{DropCapabilities: []string{"all"}}, []string{}},
		"adding comes after dropping all": {wire.Security{DropCapabilities: []string{"ALL"}, AddCapabilities: []string{"SYS_TIME"}}, []string{"CAP_SYS_TIME"}},
		"adding what is there":            {wire.Security{AddCapabilities: []string{"CHOWN"}}, usual},
		"a privileged one has all":        {wire.Security{Privileged: true, DropCapabilities: []string{"ALL"}}, all},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := specOf(t, tt.security).Process.Capabilities
			assert.ElementsMatch(t, tt.want, got.Bounding)
			assert.Equal(t, got.Bounding, got.Effective)
			assert.Equal(t, got.Bounding, got.Permitted)
			assert.Empty(t, got.Inheritable)
			assert.Empty(t, got.Ambient)
		})
	}
}

func TestSpecRefuses(t *testing.T) {
	for name, s := range map[string]wire.Security{
		"a capability that no kernel has": {AddCapabilities: []string{"EVERYTHING"}},
		"one that can't be dropped":       {DropCapabilities: []string{""}},
		"a filter that is none":           {Seccomp: json.RawMessage(`{"defaultAction": 7}`)},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := oci.Spec(oci.Config{Container: wire.Container{Security: s}})
			require.ErrorIs(t, err, oci.ErrSecurity)
		})
	}
}

func TestWhatIsMasked(t *testing.T) {
	usual := specOf(t, wire.Security{})
	assert.Contains(t, usual.Linux.MaskedPaths, "/proc/kcore")
	assert.Contains(t, usual.Linux.ReadonlyPaths, "/proc/sys")
	assert.Empty(t, usual.Linux.Devices)
	assert.False(t, usual.Linux.Resources.Devices[0].Allow)

	unmasked := specOf(t, wire.Security{UnmaskedProc: true, NoNewPrivileges: true})
	assert.Empty(t, unmasked.Linux.MaskedPaths)
	assert.Empty(t, unmasked.Linux.ReadonlyPaths)
	assert.True(t, unmasked.Process.NoNewPrivileges)
	assert.True(t, readOnly(unmasked, "/sys"))

	filter := json.RawMessage(`{"defaultAction":"SCMP_ACT_ERRNO"}`)
	privileged := specOf(t, wire.Security{Privileged: true, Seccomp: filter})
	assert.Empty(t, privileged.Linux.MaskedPaths)
	assert.Nil(t, privileged.Linux.Seccomp)
	assert.Equal(t, []specs.LinuxDevice{{Path: "/dev/sda"}}, privileged.Linux.Devices)
	assert.True(t, privileged.Linux.Resources.Devices[0].Allow)
	assert.False(t, readOnly(privileged, "/sys"))
	assert.False(t, readOnly(privileged, "/sys/fs/cgroup"))
	assert.True(t, readOnly(specOf(t, wire.Security{}), "/sys"), "and no other container's")
	assert.Equal(t, specs.ActErrno, specOf(t, wire.Security{Seccomp: filter}).Linux.Seccomp.DefaultAction)
}

func readOnly(s *specs.Spec, path string) bool {
	i := slices.IndexFunc(s.Mounts, func(m specs.Mount) bool { return m.Destination == path })
	return slices.Contains(s.Mounts[i].Options, "ro")
}

func TestWithGroups(t *testing.T) {
	image := specs.User{UID: 7, AdditionalGids: []uint32{5}}
	got, err := oci.WithGroups(image, false, 5, 9)
	require.NoError(t, err)
	assert.Equal(t, []uint32{5, 9}, got.AdditionalGids)
	got, err = oci.WithGroups(image, true, 9, 9)
	require.NoError(t, err)
	assert.Equal(t, []uint32{9}, got.AdditionalGids)
	for _, group := range []int64{-1, 1 << 32} {
		_, err = oci.WithGroups(image, false, group)
		require.ErrorIs(t, err, oci.ErrUser)
	}
}

func TestDevices(t *testing.T) {
	got, err := oci.Devices("/dev")
	require.NoError(t, err)
	i := slices.IndexFunc(got, func(d specs.LinuxDevice) bool { return d.Path == "/dev/null" })
	require.GreaterOrEqual(t, i, 0)
	assert.Equal(t, "c", got[i].Type)
	assert.Equal(t, []int64{1, 3}, []int64{got[i].Major, got[i].Minor})
	for _, d := range got {
		assert.NotContains(t, d.Path, "/pts/")
	}
}
