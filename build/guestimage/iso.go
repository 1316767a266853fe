package guestimage

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
)

// isoArgs are the kernel's arguments on vSphere. What the guest says goes to a serial port where the VM has one, and else
// to the screen. Defences that the guest on QEMU's translator does without stay on, and so does the usual way to reboot.
const isoArgs = "vic.dial console=tty0 console=ttyS0 panic=-1 quiet loglevel=3 no_timer_check cryptomgr.notests"

// What the boot loaders read. GRUB's image from Debian looks for a volume with .disk/info, and there for this file.
const (
	isolinuxConfig = `DEFAULT vic
PROMPT 0
LABEL vic
KERNEL /` + KernelFile + `
INITRD /` + InitrdFile + `
APPEND ` + isoArgs + "\n"
	grubConfig = `linux /` + KernelFile + ` ` + isoArgs + `
initrd /` + InitrdFile + `
boot
`
)

// The boot loaders' files in their packages.
const (
	isolinuxLoader = "usr/lib/ISOLINUX/isolinux.bin"
	isolinuxCore   = "usr/lib/syslinux/modules/bios/ldlinux.c32"
	grubLoader     = "usr/lib/grub/x86_64-efi/monolithic/gcdx64.efi"
)

const (
	isoLabel = "VIC_BOOT"
	// isoDate is the date of all files in the ISO, a Unix time: the first that FAT knows.
	isoDate   = "315532800"
	efiImage  = "efi.img"
	sector    = 512
	fatHeads  = 2
	fatTracks = 32 // sectors of a track
	// fatRoom is for the tables and directories of the file system that holds GRUB.
	fatRoom = 128 << 10
)

// makeISO makes a CD image in dir that boots kernel and initrd, with the boot loaders of the packages below root: isolinux
// in BIOS, GRUB in EFI. Neither has a menu nor waits.
func makeISO(ctx context.Context, dir, root string, kernel, initrd []byte) ([]byte, error) {
	tree := filepath.Join(dir, "tree")
	files := map[string][]byte{
		KernelFile:              kernel,
		InitrdFile:              initrd,
		"isolinux/isolinux.cfg": []byte(isolinuxConfig),
		"boot/grub/grub.cfg":    []byte(grubConfig),
		".disk/info":            []byte("vic pod VM\n"),
	}
	for name, from := range map[string]string{"isolinux/isolinux.bin": isolinuxLoader, "isolinux/ldlinux.c32": isolinuxCore} {
		b, err := os.ReadFile(filepath.Join(root, from))
		if err != nil {
			return nil, err
		}
		files[name] = b
	}
	for name, content := range files {
		path := filepath.Join(tree, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { // nothing in it is secret
			return nil, err
		}
		if err := os.WriteFile(path, content, 0o644); err != nil { // nothing in it is secret
			return nil, err
		}
	}
	if err := makeEFIImage(ctx, filepath.Join(tree, efiImage), filepath.Join(root, grubLoader)); err != nil {
		return nil, err
	}
	iso := filepath.Join(dir, ISOFile)
	_, err := command(ctx, "", "xorriso", "-as", "mkisofs", "-quiet", "-r", "-V", isoLabel, "-o", iso,
		"--set_all_file_dates", "@"+isoDate, "-c", "isolinux/boot.cat",
		"-b", "isolinux/isolinux.bin", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table",
		"-eltorito-alt-boot", "-e", efiImage, "-no-emul-boot", tree)
	if err != nil {
		return nil, err
	}
	return os.ReadFile(iso)
}

// makeEFIImage makes the FAT file system that EFI firmware reads of a CD, with the loader where firmware looks for it.
func makeEFIImage(ctx context.Context, image, loader string) error {
	info, err := os.Stat(loader)
	if err != nil {
		return err
	}
	const track = fatHeads * fatTracks
	sectors := (info.Size()+fatRoom)/sector/track*track + track
	for _, args := range [][]string{
		{"mformat", "-C", "-i", image, "-N", "0", "-T", strconv.FormatInt(sectors, 10), "-h", strconv.Itoa(fatHeads), "-s", strconv.Itoa(fatTracks), "::"},
		{"mmd", "-i", image, "::/EFI", "::/EFI/BOOT"},
		{"mcopy", "-i", image, loader, "::/EFI/BOOT/BOOTX64.EFI"},
	} {
		if _, err := command(ctx, "", args[0], args[1:]...); err != nil {
			return err
		}
	}
	return nil
}
