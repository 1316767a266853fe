package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/internal/filelock"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/qemu/cgroup"
	"github.com/virtual-kubelet/vic/portlayer/qemu/procfs"
)

// List shows the VMs of the VCH in dir, and beside them those whose records can't be read. It changes nothing, and needs no
// server nor rights over the processes: the lock that a QEMU inherits says whether it lives. *portlayer.FormatError.
func List(dir string) (vms []portlayer.VM, damaged []*DamagedError, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, nil, err
	}
	l := layout(dir)
	uids, err := l.uids()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	for _, uid := range uids {
		r, unread := readRecord(l.vm(uid))
		broken, isBroken := errors.AsType[*damage](unread)
		if errors.Is(unread, portlayer.ErrNotFound) {
			continue // destroyed meanwhile
		}
		if unread != nil && !isBroken {
			return nil, nil, fmt.Errorf("list VMs: %w", unread)
		}
		alive, err := filelock.Held(filepath.Join(l.vm(uid), aliveFile))
		switch {
		case err != nil:
			return nil, nil, fmt.Errorf("list VMs: %w", err)
		case isBroken:
			damaged = append(damaged, &DamagedError{UID: uid, Running: alive, Err: broken.cause})
		default:
			vms = append(vms, r.vm(alive, r.PID))
		}
	}
	return vms, damaged, nil
}

// Details is all that can be seen of a VM from outside.
type Details struct {
	portlayer.VM
	// UUID is the one that QEMU was started with.
	UUID string
	// Owner is the user and group that QEMU runs as; 0 where it runs as whoever started it.
	Owner     uint32
	Directory string
	// Held is true when a process has the VM: a vic that runs.
	Held bool
	// Groups are the control groups of the process.
	Groups []string
	// ResidentBytes is the memory that QEMU has now; 0 when it does not run, or can't be asked.
	ResidentBytes int64
	ConsoleBytes  int64
	Disks         []DiskUse
}

// DiskUse is a disk with the room that it takes.
type DiskUse struct {
	portlayer.Disk
	Path string
	// UsedBytes is what the file takes of the host's storage. An image's is shared.
	UsedBytes int64
}

// Inspect shows one VM of the VCH in dir. Like List it changes nothing and needs no server. portlayer.ErrNotFound.
func Inspect(dir, uid string) (Details, error) {
	v, r, err := outside(dir, uid)
	if err != nil {
		return Details{}, fmt.Errorf("inspect VM %q: %w", uid, err)
	}
	alive, err := filelock.Held(v.path(aliveFile))
	if err != nil {
		return Details{}, fmt.Errorf("inspect VM %s: %w", uid, err)
	}
	held, err := filelock.Held(v.path(lockFile))
	if err != nil {
		return Details{}, fmt.Errorf("inspect VM %s: %w", uid, err)
	}
	d := Details{
		VM: r.vm(alive, r.PID), UUID: r.UUID, Owner: r.Owner, Directory: v.dir, Held: held, Groups: r.Groups,
		ConsoleBytes: sizeOf(v.path(consoleFormer)) + sizeOf(v.path(consoleFile)),
	}
	if alive && recognise(v, r.PID) == nil {
		d.ResidentBytes = procfs.ResidentBytes(r.PID)
	}
	for _, disk := range r.Spec.Disks {
		path := scratchPath(v.dir, disk.Serial)
		if disk.Kind == portlayer.DiskImage {
			path = v.vch().disk(string(disk.Ref))
		}
		d.Disks = append(d.Disks, DiskUse{Disk: disk, Path: path, UsedBytes: usedBytes(path)})
	}
	return d, nil
}

// Remove ends a VM that no process has and deletes all that is of it, also where its record can't be read. portlayer.ErrBusy
// when one has it. A missing VM is no error.
func Remove(ctx context.Context, dir, uid string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("remove VM %s: %w", uid, err)
	}
	h := newHypervisor(Config{Dir: dir})
	defer h.Close()
	return h.Destroy(ctx, uid)
}

// End ends the QEMU of a VM that another process may have, as a crash does, and returns when it is gone. It returns the
// process that it ended, 0 when none ran. portlayer.ErrNotFound.
func End(ctx context.Context, dir, uid string) (int, error) {
	v, r, err := outside(dir, uid)
	if err != nil {
		return 0, fmt.Errorf("end VM %q: %w", uid, err)
	}
	alive, err := filelock.Held(v.path(aliveFile))
	if err != nil || !alive {
		return 0, err
	}
	p, err := newProcess(r.PID)
	if err != nil {
		return 0, fmt.Errorf("end VM %s: %w", uid, err)
	}
	defer p.release()
	if err := recognise(v, p.pid); err != nil {
		return 0, fmt.Errorf("end VM %s: %w", uid, err)
	}
	go p.await() // ends with the process, or with its release
	if err := p.kill(ctx); err != nil {
		return 0, fmt.Errorf("end VM %s: %w", uid, err)
	}
	return r.PID, nil
}

// Purge ends every VM of the VCH in dir and deletes the directory; one that is not there is not an error. It needs neither
// QEMU nor a guest image. A VM that another process holds makes it ErrBusy, and then the directory stays.
func Purge(ctx context.Context, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("purge VCH: %w", err)
	}
	h := newHypervisor(Config{Dir: dir})
	defer h.Close()
	uids, err := h.layout.uids()
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("purge VCH %s: %w", dir, err)
	}
	for _, uid := range uids {
		err = errors.Join(err, h.Destroy(ctx, uid))
	}
	if err != nil {
		return fmt.Errorf("purge VCH %s: %w", dir, err)
	}
	cgroup.Sweep(dir)
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("purge VCH %s: %w", dir, err)
	}
	return nil
}

// outside finds a VM for a process that does not have its VCH open.
func outside(dir, uid string) (*podVM, *record, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, nil, err
	}
	if !validUID.MatchString(uid) {
		return nil, nil, portlayer.ErrNotFound
	}
	v := &podVM{uid: uid, dir: layout(dir).vm(uid)}
	r, err := readRecord(v.dir)
	if err != nil {
		return nil, nil, err
	}
	v.record = r
	return v, r, nil
}

// vch is the directory of the VM's VCH.
func (v *podVM) vch() layout { return layout(filepath.Dir(filepath.Dir(v.dir))) }

func sizeOf(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0 // it is not there yet
	}
	return info.Size()
}

func usedBytes(path string) int64 {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0 // it is not there any more
	}
	return st.Blocks * 512 // stat(2): whatever the block size
}

// absent reports whether a file or a VM is not there.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, portlayer.ErrNotFound)
}
