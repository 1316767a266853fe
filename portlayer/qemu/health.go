package qemu

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/portlayer"
)

// conditionReady is False while no pod VM can be made or started.
const conditionReady = "Ready"

// Why a VCH is not ready.
const (
	reasonQEMUMissing  = "QEMUMissing"
	reasonImageMissing = "GuestImageMissing"
	reasonNoKVM        = "KVMUnavailable"
	reasonUnwritable   = "StateDirectoryUnwritable"
)

const kvmDevice = "/dev/kvm"

// health looks for what every new pod VM needs. What it finds missing is a condition; there is none where all is well.
func (h *Hypervisor) health() (conditions []portlayer.Condition, full bool) {
	unready := func(reason string, err error) {
		if len(conditions) == 0 { // the first is the cause of those that follow
			conditions = []portlayer.Condition{{Type: conditionReady, Reason: reason, Message: "no pod VM can start: " + err.Error()}}
		}
	}
	switch err := writable(h.layout.health()); {
	case outOfSpace(err):
		full = true
	case err != nil:
		unready(reasonUnwritable, fmt.Errorf("write to the state directory: %w", err))
	}
	if _, err := exec.LookPath(h.config.Binary); err != nil {
		unready(reasonQEMUMissing, fmt.Errorf("find QEMU: %w", err))
	}
	for what, path := range map[string]string{"kernel": h.boot.kernel, "initrd": h.boot.initrd} {
		if err := regularFile(path); err != nil {
			unready(reasonImageMissing, fmt.Errorf("guest image's %s: %w", what, err))
		}
	}
	if h.accel == AccelKVM {
		if err := unix.Access(kvmDevice, unix.R_OK|unix.W_OK); err != nil {
			unready(reasonNoKVM, fmt.Errorf("open %s: %w", kvmDevice, err))
		}
	}
	return conditions, full
}

// writable writes a byte into a file of its own, which takes a block where there was none.
func writable(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write([]byte{'\n'})
	return errors.Join(err, f.Close())
}

// outOfSpace reports whether more room would mend it.
func outOfSpace(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }
