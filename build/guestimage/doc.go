// Package guestimage builds what every pod VM boots: a Debian cloud kernel and an initrd with the guest, its kernel
// modules, crun and mke2fs; and an ISO for VMs on vSphere, with the same kernel, an initrd that has their modules, and boot
// loaders for BIOS (isolinux) and EFI (GRUB, not for secure boot). The boot loaders are Debian's own builds, under the GPL;
// the ISO holds them beside the guest and links them with nothing.
//
// Nothing is installed and no privilege is needed: packages are downloaded by apt into a cache, unpacked into a
// temporary directory, and the initrd's archive is written by this package; xorriso and mtools write the ISO. The same
// inputs give the same bytes.
//
//	manifest, err := guestimage.Build(ctx, guestimage.Config{Guest: "bin/vic-guest", Out: "bin/guest", Cache: dir})
//
// The cache holds the packages and an index of their digests. A filled cache serves without network, also where apt's
// own lists are gone; a package whose bytes differ from its digest is downloaded again, or refused.
package guestimage
