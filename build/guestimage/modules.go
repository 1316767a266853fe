package guestimage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// moduleNames are what a guest loads, on QEMU (virtio) and on vSphere (vmxnet3, vmw_pvscsi). One that is built into the
// kernel is passed over.
var moduleNames = []string{
	"virtio_pci", "virtio_console", "virtio_scsi", "sd_mod", "virtio_net", "virtio_rng", "virtio_balloon",
	"overlay", "ext4", "crc32c_generic", "vmw_pvscsi", "vmxnet3",
}

// isoModuleNames are what a guest loads that was booted from the ISO: on vSphere, or on a QEMU that looks like it. The
// last five are for what a VM is given to read: by a CD, by QEMU, and by VMware's interface.
var isoModuleNames = []string{
	"vmw_pvscsi", "sd_mod", "vmxnet3", "overlay", "ext4", "crc32c_generic",
	"ata_piix", "sr_mod", "isofs", "qemu_fw_cfg", "vmw_vmci",
}

// Where the guest finds its modules, and the list of their file names in load order.
const (
	modulesDir  = "modules"
	modulesList = "modules/load"
)

// addModules puts the modules of names in dir into a, and the list of them, dependencies first.
func addModules(ctx context.Context, a archive, dir string, names []string) error {
	files, err := moduleOrder(dir, names)
	if err != nil {
		return err
	}
	var list strings.Builder
	for _, f := range files {
		b, err := readModule(ctx, filepath.Join(dir, f))
		if err != nil {
			return fmt.Errorf("read module %s: %w", f, err)
		}
		name := moduleName(f) + ".ko"
		a.file(path.Join(modulesDir, name), 0o644, b)
		list.WriteString(name + "\n")
	}
	a.file(modulesList, 0o644, []byte(list.String()))
	return nil
}

// moduleOrder reads modules.dep and modules.builtin in dir and returns the files of names in load order.
func moduleOrder(dir string, names []string) ([]string, error) {
	dep, err := os.ReadFile(filepath.Join(dir, "modules.dep"))
	if err != nil {
		return nil, err
	}
	builtin, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil {
		return nil, err
	}
	known := map[string][]string{} // module: its file, then the files that it needs, nearest first
	for line := range strings.Lines(string(dep)) {
		file, needs, _ := strings.Cut(strings.TrimSpace(line), ":")
		known[moduleName(file)] = append([]string{file}, strings.Fields(needs)...)
	}
	isBuiltin := map[string]bool{}
	for line := range strings.Lines(string(builtin)) {
		isBuiltin[moduleName(strings.TrimSpace(line))] = true
	}
	var order []string
	added := map[string]bool{}
	for _, name := range names {
		files, ok := known[name]
		if !ok && !isBuiltin[name] {
			return nil, fmt.Errorf("the kernel has no module %s", name)
		}
		for _, file := range slices.Backward(files) {
			if !added[file] {
				added[file] = true
				order = append(order, file)
			}
		}
	}
	return order, nil
}

// moduleName is a module file's name as the kernel has it.
func moduleName(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// readModule returns a module's content, without the compression that newer packages have.
func readModule(ctx context.Context, file string) ([]byte, error) {
	switch filepath.Ext(file) {
	case ".ko":
		return os.ReadFile(file)
	case ".zst":
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		d, err := zstd.NewReader(f)
		if err != nil {
			return nil, err
		}
		defer d.Close()
		return io.ReadAll(d)
	case ".xz":
		out, err := command(ctx, "", "xz", "-dc", file)
		if err != nil {
			return nil, fmt.Errorf("%w (apt-get install xz-utils)", err)
		}
		return []byte(out), nil
	}
	return nil, errors.New("compression is not known")
}
