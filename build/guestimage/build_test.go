package guestimage_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/build/guestimage"
)

func TestMissingProgramsAreNamedTogether(t *testing.T) {
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if _, err := os.Stat(filepath.Join(dir, "dpkg-deb")); err == nil {
			require.Fail(t, "dpkg-deb is where every PATH finds it")
		}
	}
	t.Setenv("PATH", t.TempDir())
	_, err := guestimage.Build(t.Context(), guestimage.Config{Out: t.TempDir(), Cache: t.TempDir(), BootISO: true})
	require.ErrorIs(t, err, guestimage.ErrMissingTools)
	for _, want := range []string{"apt-cache (apt-get install apt)", "dpkg-deb (apt-get install dpkg)", "mcopy (apt-get install mtools)"} {
		assert.ErrorContains(t, err, want)
	}
}

// kernelPackage packs a package with a kernel and its modules, some of whose needs are built in.
const kernelPackage = `
set -e
mkdir -p k/DEBIAN k/boot k/lib/modules/6.1.0-test/kernel
printf 'Package: linux-image-test\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\n' > k/DEBIAN/control
echo kernel > k/boot/vmlinuz-6.1.0-test
`

func TestTheSameInputsGiveTheSameImage(t *testing.T) {
	bin, guest := fakeDistribution(t), filepath.Join(t.TempDir(), "guest")
	require.NoError(t, os.WriteFile(guest, []byte("guest"), 0o755))
	cache := t.TempDir()
	build := func(out string) *guestimage.Manifest {
		t.Helper()
		m, err := guestimage.Build(t.Context(), guestimage.Config{
			Guest: guest, Out: out, Cache: cache, KernelPackage: "linux-image-test", BootISO: true,
		})
		require.NoError(t, err)
		return m
	}
	first, second := t.TempDir(), t.TempDir()
	m := build(first)
	assert.Equal(t, "6.1.0-test", m.KernelRelease)
	assert.Equal(t, "linux-image-test", m.Kernel.Name)
	build(second)
	for _, name := range []string{guestimage.KernelFile, guestimage.InitrdFile, guestimage.ISOFile, guestimage.ManifestFile} {
		a, err := os.ReadFile(filepath.Join(first, name))
		require.NoError(t, err)
		b, err := os.ReadFile(filepath.Join(second, name))
		require.NoError(t, err)
		assert.Equal(t, a, b, name)
	}

	without, err := guestimage.Build(t.Context(), guestimage.Config{
		Guest: guest, Out: second, Cache: cache, KernelPackage: "linux-image-test",
	})
	require.NoError(t, err)
	assert.NoFileExists(t, filepath.Join(second, guestimage.ISOFile))
	assert.Empty(t, without.ISOSHA256)
	assert.Equal(t, m.InitrdSHA256, without.InitrdSHA256, "an ISO changes nothing for QEMU")

	require.NoError(t, os.WriteFile(filepath.Join(bin, "depmod"), []byte("#!/bin/sh\nexit 1\n"), 0o755))
	assert.Equal(t, m, build(first), "a current image is left as it is")
	for _, name := range []string{guestimage.InitrdFile, guestimage.ISOFile} {
		whole, err := os.ReadFile(filepath.Join(first, name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(first, name), []byte("torn"), 0o644))
		_, err = guestimage.Build(t.Context(), guestimage.Config{
			Guest: guest, Out: first, Cache: cache, KernelPackage: "linux-image-test", BootISO: true,
		})
		require.Error(t, err, "a damaged one is built again")
		require.NoError(t, os.WriteFile(filepath.Join(first, name), whole, 0o644))
	}
}
