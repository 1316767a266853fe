package qemu

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/internal/logging"
)

const (
	// probeArg makes the guest say probeAnswer and power off.
	probeArg     = "vic.probe"
	probeAnswer  = "vic-guest: probe ok"
	probeTimeout = 10 * time.Second
	probeMemory  = "128M"
)

// probeResult is what is kept of a probe: the answer, and what it depends on.
type probeResult struct {
	Key   string `json:"key"`
	Accel Accel  `json:"accel"`
}

// ProbeAccel returns the accelerator that pod VMs get. For AccelAuto it boots the guest image with KVM once a boot of
// the machine, since a KVM device that opens may still run no guest, and falls back to TCG with a warning.
func ProbeAccel(ctx context.Context, cfg Config) (Accel, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return "", fmt.Errorf("choose accelerator: %w", err)
	}
	l := layout(cfg.Dir)
	if err := l.prepare(); err != nil {
		return "", fmt.Errorf("choose accelerator: %w", err)
	}
	version, err := qemuVersion(ctx, cfg.Binary)
	if err != nil {
		return "", fmt.Errorf("choose accelerator: %w", err)
	}
	if cfg.Accel != AccelAuto {
		return cfg.Accel, nil
	}
	boot, err := stageImage(l, cfg.GuestImage)
	if err != nil {
		return "", fmt.Errorf("choose accelerator: %w", err)
	}
	key := strings.Join([]string{bootID(), version, boot.digest}, " ")
	var known probeResult
	if err := readJSON(l.probe(), &known); err == nil && known.Key == key {
		return known.Accel, nil
	}
	result := probeResult{key, AccelKVM}
	if err := tryKVM(ctx, cfg.Binary, boot); err != nil {
		if ctx.Err() != nil {
			return "", fmt.Errorf("choose accelerator: %w", err)
		}
		logging.From(ctx).WarnContext(ctx, "KVM does not run guests here, pod VMs use TCG and are slow", "err", err)
		result.Accel = AccelTCG
	}
	return result.Accel, writeJSON(l.probe(), result)
}

// qemuVersion is the first line that QEMU says of itself; that it can say it shows that it runs.
func qemuVersion(ctx context.Context, binary string) (string, error) {
	out, err := exec.CommandContext(ctx, binary, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("run %s --version: %w", binary, err)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return line, nil
}

// tryKVM boots the guest image until it answers.
func tryKVM(ctx context.Context, binary string, boot bootFiles) error {
	device, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := device.Close(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, probeTimeout, fmt.Errorf("a guest did not boot within %s", probeTimeout))
	defer cancel()
	return tryBoot(ctx, binary, AccelKVM, boot)
}

func tryBoot(ctx context.Context, binary string, accel Accel, boot bootFiles) error {
	args := append(accelArgs(accel), "-M", "pc", "-m", probeMemory, "-nodefaults", "-no-user-config", "-display", "none",
		"-no-reboot", "-kernel", boot.kernel, "-initrd", boot.initrd, "-append", bootArgs(accel)+" "+probeArg,
		"-serial", "stdio", "-sandbox", sandbox)
	// The guest dies with us by way of the thread that started it, which must not end before.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: unix.SIGKILL}
	var words strings.Builder
	cmd.Stderr = &words
	console, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	answered := awaitAnswer(console)
	err = errors.Join(cmd.Cancel(), cmd.Wait())
	switch {
	case answered:
		return nil // that it had to be killed before it had powered off does not matter
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case words.Len() > 0:
		return errors.New(printable(words.String(), maxComplaint))
	}
	return fmt.Errorf("the guest ended without an answer: %w", err)
}

// awaitAnswer reads a console until the guest has answered or QEMU ended.
func awaitAnswer(console io.Reader) bool {
	lines := bufio.NewScanner(console)
	for lines.Scan() {
		if strings.Contains(lines.Text(), probeAnswer) {
			return true
		}
	}
	return false
}
