package qemu

import (
	"os"
	"path/filepath"
	"sync"

	"github.com/virtual-kubelet/vic/internal/filelock"
	"github.com/virtual-kubelet/vic/portlayer"
)

// podVM is one VM of the VCH, as this process knows it.
type podVM struct {
	uid string
	dir string

	mu     sync.Mutex // guards what follows
	record *record
	held   *os.File // the VM's lock; nil while another host process has it
	proc   *process // nil while it does not run
	dialed bool     // a connection to the guest is open or being opened
	guest  *guestConn
	gone   bool // destroyed
}

func (v *podVM) path(name string) string { return filepath.Join(v.dir, name) }

// current returns the record, which nobody changes, and the process that runs, if one does.
func (v *podVM) current() (*record, *process) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.record, v.proc
}

func (v *podVM) claimed() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.held != nil
}

// save changes the record, on disk first.
func (v *podVM) save(change func(*record)) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.saveLocked(change)
}

func (v *podVM) saveLocked(change func(*record)) error {
	next := v.record.clone()
	change(next)
	if err := writeJSON(v.path(recordFile), next); err != nil {
		return err
	}
	v.record = next
	return nil
}

// view is the VM as callers see it. One that another process holds is read from disk.
func (v *podVM) view() (portlayer.VM, error) {
	v.mu.Lock()
	record, proc, mine := v.record, v.proc, v.held != nil
	v.mu.Unlock()
	if mine {
		if proc != nil {
			return record.vm(true, proc.pid), nil
		}
		return record.vm(false, 0), nil
	}
	record, err := readRecord(v.dir)
	if err != nil {
		return portlayer.VM{}, err
	}
	alive, err := filelock.Held(v.path(aliveFile))
	if err != nil {
		return portlayer.VM{}, err
	}
	return record.vm(alive, record.PID), nil
}

// run notes that p is the VM's process.
func (v *podVM) run(p *process, change func(*record)) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.saveLocked(change); err != nil {
		return err
	}
	v.proc = p
	return nil
}

// stopped notes that p has ended. The VM is off even where the record can't be written: the lock on its alive file says
// so to the next process.
func (v *podVM) stopped(p *process) error {
	v.mu.Lock()
	if v.proc != p || v.gone {
		v.mu.Unlock()
		return nil
	}
	guest := v.guest
	v.proc = nil
	stop := func(r *record) { r.On, r.PID, r.StopReason, r.Groups = false, 0, p.stopReason(), nil }
	err := v.saveLocked(stop)
	if err != nil {
		unsaved := v.record.clone()
		stop(unsaved)
		v.record = unsaved
	}
	v.mu.Unlock()
	if guest != nil {
		_ = guest.Close() // nobody is at its other end
	}
	return err
}

// letGo gives the VM to whoever takes its lock next. It goes on running.
func (v *podVM) letGo() {
	v.mu.Lock()
	held, proc, guest := v.held, v.proc, v.guest
	v.held, v.proc = nil, nil
	v.mu.Unlock()
	if guest != nil {
		_ = guest.Close() // the next holder is to have the guest to itself
	}
	if proc != nil {
		proc.release()
	}
	if held != nil {
		_ = held.Close() // gives up the lock, whatever close says
	}
}
