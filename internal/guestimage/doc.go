// Package guestimage builds what every pod VM boots: a Debian cloud kernel and an initrd with the guest, its kernel
// modules, crun and mke2fs.
//
// Nothing is installed and no privilege is needed: packages are downloaded by apt into a cache, unpacked into a
// temporary directory, and the initrd's archive is written by this package. The same inputs give the same bytes.
//
//	manifest, err := guestimage.Build(ctx, guestimage.Config{Guest: "bin/vic-guest", Out: "bin/guest", Cache: dir})
//
// The cache holds the packages and an index of their digests. A filled cache serves without network, also where apt's
// own lists are gone; a package whose bytes differ from its digest is downloaded again, or refused.
package guestimage
