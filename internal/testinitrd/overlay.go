package testinitrd

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// Write writes the initrd base with files over it to path. The keys are paths without a leading slash, in directories that
// base has; every file is a program.
func Write(path, base string, files map[string][]byte) error {
	initrd, err := os.ReadFile(base)
	if err != nil {
		return fmt.Errorf("read initrd: %w", err)
	}
	b := bytes.NewBuffer(initrd)
	pad(b)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		add(b, name, 0o100755, files[name])
	}
	add(b, "TRAILER!!!", 0, nil)
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write initrd: %w", err)
	}
	return nil
}

// The programs that tests put into the initrd, for Build.
const (
	// VSphereGuest reports the hardware that vSphere gives to a VM.
	VSphereGuest = module + "internal/testinitrd/vsphereguest"
	// HostileInit means harm where a VM has more than one processor, and is the guest program otherwise.
	HostileInit = module + "portlayer/podvm/podvmtest/hostile/init"
	// HypervisorGuest is the guest of the tests of portlayer/qemu.
	HypervisorGuest = module + "portlayer/qemu/internal/testguest"
	// Guest is the guest program itself.
	Guest = module + "cmd/vic-guest"
)

const module = "github.com/virtual-kubelet/vic/"

// Build compiles a program that needs no library, by the import path of its package, and returns it.
func Build(ctx context.Context, pkg string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "testinitrd")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "program")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, pkg)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build %s: %w: %s", pkg, err, out)
	}
	return os.ReadFile(program)
}

// add writes one file in the format of buffer-format.rst of the Linux documentation.
func add(b *bytes.Buffer, name string, mode int, content []byte) {
	fmt.Fprintf(b, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name)+1, 0)
	b.WriteString(name + "\x00")
	pad(b)
	b.Write(content)
	pad(b)
}

func pad(b *bytes.Buffer) {
	for b.Len()%4 != 0 {
		b.WriteByte(0)
	}
}
