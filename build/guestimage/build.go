package guestimage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/virtual-kubelet/vic/internal/durable"
)

// The files of an image's directory.
const (
	KernelFile   = "vmlinuz"
	InitrdFile   = "initrd.zst"
	ISOFile      = "boot.iso"
	ManifestFile = "manifest.json"
)

// recipe changes when the same inputs give another image.
const recipe = 1

// Config says what to build.
type Config struct {
	// Guest is the guest program, linked statically.
	Guest string
	// Out is the directory for the image; it is made where there is none.
	Out string
	// Cache keeps downloaded packages.
	Cache string
	// KernelPackage is a Debian package with a kernel, or one that depends on it. Empty is linux-image-cloud-ARCH.
	KernelPackage string
	// BootISO also makes a CD image for VMs on vSphere, with an initrd of its own.
	BootISO bool
}

// Manifest says what an image was made of.
type Manifest struct {
	Recipe int `json:"recipe"`
	// Kernel is the package, and KernelRelease what uname -r prints.
	Kernel        Package   `json:"kernel"`
	KernelRelease string    `json:"kernelRelease"`
	KernelSHA256  string    `json:"kernelSHA256"`
	Runtime       []Package `json:"runtime"` // crun, e2fsprogs and their libraries
	GuestSHA256   string    `json:"guestSHA256"`
	InitrdSHA256  string    `json:"initrdSHA256"`
	// Boot are the packages of the ISO's boot loaders.
	Boot      []Package `json:"boot,omitempty"`
	ISOSHA256 string    `json:"isoSHA256,omitempty"`
}

// Build makes the image that c describes. Where c.Out already holds it, nothing is written.
func Build(ctx context.Context, c Config) (*Manifest, error) {
	if err := checkTools(c.BootISO); err != nil {
		return nil, err
	}
	if c.KernelPackage == "" {
		c.KernelPackage = "linux-image-cloud-" + runtime.GOARCH
	}
	for _, dir := range []string{c.Cache, c.Out} {
		if err := os.MkdirAll(dir, 0o755); err != nil { // nothing in it is secret
			return nil, fmt.Errorf("make directory: %w", err)
		}
	}
	guest, err := os.ReadFile(c.Guest)
	if err != nil {
		return nil, fmt.Errorf("read the guest program: %w", err)
	}
	cache := debCache{c.Cache, aptFiles}
	s, err := cache.selection(ctx, c.KernelPackage, c.BootISO)
	if err != nil {
		return nil, err
	}
	m := &Manifest{Recipe: recipe, Kernel: s.Kernel, Runtime: s.Runtime, Boot: s.Boot, GuestSHA256: digest(guest)}
	if built, ok := current(c.Out, m); ok {
		return built, nil
	}
	return m, build(ctx, cache, c.Out, guest, m)
}

// build unpacks the packages of m and writes the image.
func build(ctx context.Context, cache debCache, out string, guest []byte, m *Manifest) error {
	tmp, err := os.MkdirTemp(cache.dir, "unpacked-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }() // what is left is in the cache's own directory and harms nothing
	root := filepath.Join(tmp, "root")
	for _, p := range slices.Concat([]Package{m.Kernel}, m.Runtime, m.Boot) {
		if _, err := command(ctx, "", "dpkg-deb", "-x", cache.path(p), root); err != nil {
			return fmt.Errorf("unpack %s: %w", p.Name, err)
		}
	}
	kernel, release, err := findKernel(root)
	if err != nil {
		return err
	}
	if _, err := command(ctx, "", "depmod", "-b", root, release); err != nil {
		return fmt.Errorf("order kernel modules: %w", err)
	}
	modules := filepath.Join(root, "lib/modules", release)
	initrd, err := makeInitrd(ctx, root, modules, moduleNames, guest)
	if err != nil {
		return err
	}
	m.KernelRelease, m.KernelSHA256, m.InitrdSHA256 = release, digest(kernel), digest(initrd)
	files := map[string][]byte{KernelFile: kernel, InitrdFile: initrd}
	if len(m.Boot) > 0 {
		initrd, err := makeInitrd(ctx, root, modules, isoModuleNames, guest)
		if err != nil {
			return err
		}
		iso, err := makeISO(ctx, tmp, root, kernel, initrd)
		if err != nil {
			return fmt.Errorf("make the boot ISO: %w", err)
		}
		files[ISOFile], m.ISOSHA256 = iso, digest(iso)
	}
	return writeImage(out, files, m)
}

// writeImage replaces the image in out.
func writeImage(out string, files map[string][]byte, m *Manifest) error {
	manifest, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	// The manifest comes last: it says that the others are complete.
	for _, name := range []string{ManifestFile, ISOFile} {
		if err := os.RemoveAll(filepath.Join(out, name)); err != nil {
			return err
		}
	}
	for name, content := range files {
		if err := durable.Write(filepath.Join(out, name), content, 0o644); err != nil {
			return err
		}
	}
	return durable.Write(filepath.Join(out, ManifestFile), append(manifest, '\n'), 0o644)
}

func findKernel(root string) (kernel []byte, release string, err error) {
	found, err := filepath.Glob(filepath.Join(root, "boot/vmlinuz-*"))
	if err != nil || len(found) != 1 {
		return nil, "", fmt.Errorf("the kernel's package has %d kernels", len(found))
	}
	kernel, err = os.ReadFile(found[0])
	return kernel, strings.TrimPrefix(filepath.Base(found[0]), "vmlinuz-"), err
}

// makeInitrd makes an initrd with the modules of names, which are in the directory modules.
func makeInitrd(ctx context.Context, root, modules string, names []string, guest []byte) ([]byte, error) {
	a := archive{}
	for _, dir := range []string{"dev", "etc", "proc", "run", "scratch", "sys", "newroot"} {
		a.dir(dir, 0o755)
	}
	a.dir("tmp", 0o1777)
	a.char("dev/console", 0o600, 5, 1)
	a.symlink("etc/mtab", "/proc/self/mounts")
	a.file("init", 0o755, guest)
	if err := addModules(ctx, a, modules, names); err != nil {
		return nil, fmt.Errorf("add kernel modules: %w", err)
	}
	if err := addProgram(a, root, "usr/bin/crun", "bin/crun"); err != nil {
		return nil, err
	}
	if err := addProgram(a, root, "sbin/mke2fs", "bin/mke2fs"); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	if err := a.writeTo(z); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("compress the initrd: %w", err)
	}
	return b.Bytes(), nil
}

// current returns the manifest in out when it has want's inputs and its files are whole.
func current(out string, want *Manifest) (*Manifest, bool) {
	var m Manifest
	b, err := os.ReadFile(filepath.Join(out, ManifestFile))
	if err != nil || json.Unmarshal(b, &m) != nil {
		return nil, false
	}
	files := map[string]string{KernelFile: m.KernelSHA256, InitrdFile: m.InitrdSHA256}
	if len(m.Boot) > 0 {
		files[ISOFile] = m.ISOSHA256
	}
	for name, sum := range files {
		if got, err := fileDigest(filepath.Join(out, name)); err != nil || got != sum {
			return nil, false
		}
	}
	return &m, m.inputs() == want.inputs()
}

// inputs is everything that decides what the image's bytes are.
func (m *Manifest) inputs() string {
	s := []string{strconv.Itoa(m.Recipe), m.GuestSHA256, m.Kernel.SHA256}
	for _, p := range slices.Concat(m.Runtime, m.Boot) {
		s = append(s, p.Name, p.SHA256)
	}
	return strings.Join(s, " ")
}

func digest(b []byte) string {
	d := sha256.Sum256(b)
	return hex.EncodeToString(d[:])
}
