package qemu

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/virtual-kubelet/vic/portlayer/qemu/network"
)

// Accel says how QEMU executes the guest's instructions.
type Accel string

// The accelerators.
const (
	// AccelAuto is KVM where a guest really boots with it, else TCG.
	AccelAuto Accel = "auto"
	AccelKVM  Accel = "kvm"
	// AccelTCG translates instructions. It needs no privilege and no hardware, and is slow.
	AccelTCG Accel = "tcg"
)

// ParseAccel turns a user's word into an Accel.
func ParseAccel(s string) (Accel, error) {
	switch a := Accel(s); a {
	case AccelAuto, AccelKVM, AccelTCG:
		return a, nil
	}
	return "", fmt.Errorf("accelerator %q is not one of auto, kvm, tcg", s)
}

const (
	defaultBinary = "qemu-system-x86_64"
	defaultPods   = 110

	mib = 1 << 20
)

// GuestImage is what every pod VM boots.
type GuestImage struct {
	// Kernel and Initrd are files of this machine.
	Kernel string
	Initrd string
}

// Config says where a VCH keeps its VMs and what it may use of the machine.
type Config struct {
	// Dir holds everything. It is made with mode 0700 and belongs to one VCH.
	Dir string
	// GuestImage is copied into Dir when the VCH opens: a later change of the files touches no VM.
	GuestImage GuestImage
	// Binary is QEMU's name or path; empty for qemu-system-x86_64.
	Binary string
	// Accel is AccelAuto when empty.
	Accel Accel
	// Network is what NICs join. Without one each VM has a private network in user mode: it reaches out, and nobody
	// reaches it.
	Network *network.Network
	// CPUMilli and MemoryBytes are what the VCH offers; 0 is the whole machine. StorageBytes is for scratch disks; 0 is
	// the whole disk that Dir is on. More than there is may be offered: disks are sparse.
	CPUMilli     int64
	MemoryBytes  int64
	StorageBytes int64
	// Pods is how many pod VMs the VCH offers room for; 0 is 110, the kubelet's default.
	Pods int64
}

// complete checks c and fills in what is empty. The error says what a user can mend.
func (c Config) complete() (Config, error) {
	if c.Dir == "" {
		return c, errors.New("no directory for the VCH")
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return c, fmt.Errorf("directory of the VCH: %w", err)
	}
	c.Dir = dir
	if c.Binary == "" {
		c.Binary = defaultBinary
	}
	if c.Binary, err = exec.LookPath(c.Binary); err != nil {
		return c, fmt.Errorf("find QEMU (Debian package qemu-system-x86): %w", err)
	}
	if c.Accel == "" {
		c.Accel = AccelAuto
	}
	if c.Pods == 0 {
		c.Pods = defaultPods
	}
	for what, path := range map[string]string{"kernel": c.GuestImage.Kernel, "initrd": c.GuestImage.Initrd} {
		if err := regularFile(path); err != nil {
			return c, fmt.Errorf("guest image's %s: %w (make guest-image builds it)", what, err)
		}
	}
	return c, nil
}

func regularFile(path string) error {
	if path == "" {
		return errors.New("no file named")
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() == 0 {
		return fmt.Errorf("%s is not a file with content", path)
	}
	return nil
}
