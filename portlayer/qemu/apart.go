package qemu

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/internal/ownthread"
)

const (
	// apartAlways are the namespaces that every QEMU with a user of its own gets. apartFromHost come beside them unless
	// QEMU's user mode networking needs the host's network and resolv.conf.
	apartAlways   = unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
	apartFromHost = unix.CLONE_NEWNET | unix.CLONE_NEWNS
)

// apart reports whether a VM's QEMU has a network and mounts of its own, both empty: all that it needs it has open.
func (h *Hypervisor) apart(r *record) bool {
	return r.Owner != 0 && (h.config.Network != nil || len(r.Spec.NICs) == 0)
}

func (h *Hypervisor) confinement(r *record) confinement {
	c := confinement{owner: r.Owner, groups: h.groups()}
	if r.Owner != 0 {
		c.namespaces = apartAlways
	}
	if h.apart(r) {
		c.namespaces |= apartFromHost
	}
	return c
}

// emptyRoot takes every file away that a QEMU with mounts of its own could reach by a path: it has read its program and opened
// its devices. pivot_root(2) also changes the root of the processes that are in these mounts.
func (p *process) emptyRoot() error {
	if rootIsEmpty(p.pid) {
		return nil
	}
	if err := ownthread.Run(p.enterAndEmpty); err != nil {
		return fmt.Errorf("empty QEMU's root: %w", err)
	}
	if !rootIsEmpty(p.pid) {
		return errors.New("empty QEMU's root: it has another one")
	}
	return nil
}

// enterAndEmpty changes this thread for good. It touches mounts only in a namespace that is not ours.
func (p *process) enterAndEmpty() error {
	ours, err := mountsOf("thread-self")
	if err != nil {
		return err
	}
	its, err := mountsOf(strconv.Itoa(p.pid)) // of nobody else: where it has ended, there is none to enter
	if err != nil {
		return err
	}
	if its == ours {
		return errors.New("its mounts are the host's")
	}
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	if err := unix.Setns(int(p.pidfd.Fd()), unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("enter its mounts: %w", err)
	}
	const place = "/proc" // any directory that is there
	return errors.Join(
		unix.Mount("none", place, "tmpfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0555"),
		unix.Chdir(place),
		unix.PivotRoot(".", "."), // the former root is then upon the new one
		unix.Unmount(".", unix.MNT_DETACH),
	)
}

// mountsOf names the mount namespace of a process.
func mountsOf(pid string) (string, error) { return os.Readlink(filepath.Join("/proc", pid, "ns/mnt")) }

// rootIsEmpty reports whether a process sees one mount, and nothing in it.
func rootIsEmpty(pid int) bool {
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil || bytes.Count(mounts, []byte("\n")) != 1 {
		return false
	}
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/root", pid))
	return err == nil && len(entries) == 0
}

// aloneInMounts reports whether no other process has the mounts of a process: then they were made for it.
func aloneInMounts(pid int) bool {
	its, err := mountsOf(strconv.Itoa(pid))
	if err != nil {
		return false
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return false
	}
	for _, e := range entries {
		other, err := strconv.Atoi(e.Name())
		if err != nil || other == pid {
			continue
		}
		if theirs, err := mountsOf(e.Name()); err == nil && theirs == its {
			return false
		}
	}
	return true
}

// finishEmptying does for a QEMU that is adopted what the process before us was killed before it did.
func (h *Hypervisor) finishEmptying(r *record, p *process) error {
	if !h.apart(r) || rootIsEmpty(p.pid) || !aloneInMounts(p.pid) {
		return nil
	}
	return p.emptyRoot()
}
