package guestimage_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// fakeDistribution makes four small packages, and programs in PATH that bring and unpack them. crun and mke2fs are this
// machine's cat, which needs a loader and a library.
func fakeDistribution(t *testing.T) (bin string) {
	t.Helper()
	dir, bin := t.TempDir(), t.TempDir()
	run(t, dir, kernelPackage+`
for m in virtio_pci virtio_console virtio_scsi sd_mod virtio_net virtio_rng virtio_balloon overlay ext4 crc32c_generic vmw_pvscsi vmxnet3 \
	ata_piix sr_mod isofs qemu_fw_cfg vmw_vmci; do
	echo $m > k/lib/modules/6.1.0-test/kernel/$m.ko
done
mkdir -p r/DEBIAN r/usr/bin r/sbin
printf 'Package: crun\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\n' > r/DEBIAN/control
cp -L /bin/cat r/usr/bin/crun
cp -L /bin/cat r/sbin/mke2fs
for lib in $(ldd /bin/cat | grep -o '/[^ ]*'); do mkdir -p r$(dirname $lib); cp -L $lib r$lib; done
mkdir -p e/DEBIAN
printf 'Package: e2fsprogs\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\n' > e/DEBIAN/control
mkdir -p i/DEBIAN i/usr/lib/ISOLINUX i/usr/lib/syslinux/modules/bios i/usr/lib/grub/x86_64-efi/monolithic
printf 'Package: isolinux\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\n' > i/DEBIAN/control
head -c 4096 /bin/cat > i/usr/lib/ISOLINUX/isolinux.bin
echo core > i/usr/lib/syslinux/modules/bios/ldlinux.c32
cp -L /bin/cat i/usr/lib/grub/x86_64-efi/monolithic/gcdx64.efi
for p in k r e i; do dpkg-deb -b -Znone $p $p.deb >/dev/null; done`)
	write := func(name string, lines ...string) {
		t.Helper()
		text := "#!/bin/sh\n" + strings.ReplaceAll(strings.Join(lines, "\n"), "DIR", dir) + "\n"
		require.NoError(t, os.WriteFile(filepath.Join(bin, name), []byte(text), 0o755))
	}
	write("apt-cache", `shift 2`, `for p in "$@"; do case $p in linux*) f=k;; crun) f=r;; *linux*|grub*) f=i;; *) f=e;; esac`,
		`printf 'Package: %s\nVersion: 1\nSHA256: %s\n\n' $p $(sha256sum < DIR/$f.deb | cut -c1-64); done`)
	write("apt-get", `case $3 in linux*) f=k;; crun*) f=r;; *linux*|grub*) f=i;; *) f=e;; esac`, `cp DIR/$f.deb .`)
	write("depmod", `cd $2/lib/modules/$3; : > modules.builtin; for m in kernel/*.ko; do echo "$m:"; done > modules.dep`)
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	return bin
}

func run(t *testing.T, dir, script string) {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}
