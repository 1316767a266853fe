package qemu

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/virtual-kubelet/vic/internal/filelock"
	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/qemu/cgroup"
)

// What the condition of unreadable records says.
const (
	conditionUnreadable = portlayer.ConditionVMsUnreadable
	reasonUnreadable    = "RecordsDamaged"
	reasonReadable      = "RecordsReadable"
)

// damage says that a VM is there and its record can't be read.
type damage struct{ cause error }

// Error says what that means and why.
func (d *damage) Error() string { return fmt.Sprintf("its record can't be read: %v", d.cause) }

// Unwrap returns the cause.
func (d *damage) Unwrap() error { return d.cause }

// A DamagedError is a VM whose record can't be read. Its QEMU goes on where it runs, nobody takes it over, and no VM is made for
// the same pod until Destroy or Remove has ended it.
type DamagedError struct {
	UID string
	// Running is true when its QEMU lives.
	Running bool
	// Err says what is wrong with the record.
	Err error
}

// Error names the VM and says what is wrong.
func (d *DamagedError) Error() string { return fmt.Sprintf("record of VM %s: %v", d.UID, d.Err) }

// Unwrap returns what is wrong.
func (d *DamagedError) Unwrap() error { return d.Err }

// noteDamage keeps which VMs can't be read, and warns of those that are new.
func (h *Hypervisor) noteDamage(ctx context.Context, damaged map[string]error) {
	h.mu.Lock()
	before := h.damaged
	h.damaged = damaged
	h.mu.Unlock()
	for uid, err := range damaged {
		if before[uid] == nil {
			logging.From(ctx).WarnContext(ctx, "pod VM can't be read and is not served", "vm", uid, "err", err)
		}
	}
}

// damageCondition says which VMs can't be read now.
func (h *Hypervisor) damageCondition(ctx context.Context) portlayer.Condition {
	c := portlayer.Condition{Type: conditionUnreadable, Reason: reasonReadable, Message: "the records of all pod VMs can be read"}
	if uids, err := h.layout.uids(); err == nil {
		_, _ = h.lookAll(ctx, uids) // a record of another program's is said by List
	}
	h.mu.Lock()
	damaged := maps.Clone(h.damaged)
	h.mu.Unlock()
	if len(damaged) == 0 {
		return c
	}
	var each []string
	for _, uid := range slices.Sorted(maps.Keys(damaged)) {
		each = append(each, fmt.Sprintf("VM %s: %v", uid, damaged[uid]))
	}
	c.True, c.Reason = true, reasonUnreadable
	c.Message = "these are not served, and `vic podvm rm` removes them: " + printable(strings.Join(each, "; "), maxComplaint)
	return c
}

// changeDamaged is change for a VM whose record can't be read: it takes its turn and its lock, and finds its process.
func (h *Hypervisor) changeDamaged(ctx context.Context, uid string) (*podVM, func(), error) {
	unlock, err := h.changing.Take(ctx, uid)
	if err != nil {
		return nil, nil, err
	}
	v := &podVM{uid: uid, dir: h.layout.vm(uid), record: &record{}}
	v.held, err = filelock.Try(v.path(lockFile))
	if errors.Is(err, filelock.ErrLocked) {
		err = fmt.Errorf("another process holds it: %w", portlayer.ErrBusy)
	}
	if err == nil {
		err = h.endDamaged(ctx, v)
	}
	if err != nil {
		v.letGo()
		unlock()
		return nil, nil, err
	}
	return v, unlock, nil
}

// endDamaged kills the QEMU of a VM, if one lives. It is the one that listens on the VM's socket.
func (h *Hypervisor) endDamaged(ctx context.Context, v *podVM) error {
	alive, err := filelock.Held(v.path(aliveFile))
	if err != nil || !alive {
		return err
	}
	p, conn, err := approach(ctx, v, v.record)
	if err != nil {
		return fmt.Errorf("find its QEMU: %w", err)
	}
	defer p.release()
	if conn != nil {
		defer conn.Close()
	}
	if err := recognise(v, p.pid); err != nil {
		return err
	}
	groups := cgroup.Of(p.pid, string(h.layout), v.uid)
	h.tending.Go(p.await) // ends with the process, or with its release
	if err := p.kill(ctx); err != nil {
		return err
	}
	cgroup.Release(ctx, v.uid, groups)
	return nil
}

// refInText finds the names of image disks in a record that is not whole.
var refInText = regexp.MustCompile(`[0-9a-f]{64}\.ext4`)

// refsNamed are the image disks that the record of a VM names, as far as there is something to be seen in it.
func (l layout) refsNamed(uid string) []portlayer.DiskRef {
	text, _ := os.ReadFile(filepath.Join(l.vm(uid), recordFile)) // a QEMU that runs has its disks open, whatever their names
	var refs []portlayer.DiskRef
	for _, ref := range refInText.FindAll(text, -1) {
		refs = append(refs, portlayer.DiskRef(ref))
	}
	return refs
}
