package qemu

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/virtual-kubelet/vic/portlayer"
)

// uuidSpace is the namespace of the UUIDs that are made of pods' UIDs (RFC 9562, version 5).
var uuidSpace = uuid.MustParse("7d0c1a3e-55c5-4e34-9b6c-2f6b1d1b6f0a")

// vmUUID is the UUID that QEMU is started with and must answer with. It differs between VCHs.
func vmUUID(dir, uid string) string { return uuid.NewSHA1(uuidSpace, []byte(dir+"\x00"+uid)).String() }

// record is vm.json: all that is kept of a VM. Whether it runs is not in it; the lock on its alive file says that.
type record struct {
	// Format is the version of this form (portlayer.Format).
	Format  int            `json:"format"`
	Spec    portlayer.Spec `json:"spec"`
	Version uint64         `json:"version"`
	UUID    string         `json:"uuid"`
	// Owner is the user and group that QEMU runs as; 0 where it runs as ours.
	Owner     uint32    `json:"owner"`
	CreatedAt time.Time `json:"createdAt"`
	// StartedAt is zero for a VM that was never powered on.
	StartedAt time.Time `json:"startedAt,omitzero"`
	// On is true when the VM was started and its end not yet seen. PID and BootID say of which process and which boot of
	// the machine; they are for people and for reasons, and no process is ever signalled by them.
	On         bool   `json:"on"`
	PID        int    `json:"pid,omitempty"`
	BootID     string `json:"bootID,omitempty"`
	StopReason string `json:"stopReason,omitempty"`
	// Groups are the directories of the control groups that were made for the process.
	Groups []string `json:"groups,omitempty"`
}

func (r *record) clone() *record {
	c := *r
	c.Spec, c.Groups = r.Spec.Clone(), slices.Clone(r.Groups)
	return &c
}

// vm is the record in the port layer's form. pid is that of the running process, 0 for none.
func (r *record) vm(running bool, pid int) portlayer.VM {
	v := portlayer.VM{
		Spec: r.Spec.Clone(), Version: r.Version, CreatedAt: r.CreatedAt, StartedAt: r.StartedAt,
		State: portlayer.StateCreated, StopReason: r.StopReason,
	}
	switch {
	case running:
		v.State, v.PID, v.StopReason = portlayer.StateRunning, pid, ""
	case !r.StartedAt.IsZero():
		v.State = portlayer.StateStopped
	}
	return v
}

// readRecord reads the record of the VM in dir. portlayer.ErrNotFound where there is no VM, *portlayer.FormatError, *damage.
func readRecord(dir string) (*record, error) {
	var r record
	if err := readJSON(filepath.Join(dir, recordFile), &r); err != nil {
		if _, missing := os.Lstat(dir); errors.Is(missing, fs.ErrNotExist) {
			return nil, portlayer.ErrNotFound // its path says nothing that the ID does not say
		}
		return nil, &damage{err}
	}
	if err := portlayer.CheckFormat(filepath.Join(dir, recordFile), r.Format); err != nil {
		return nil, err
	}
	if r.Spec.ID != filepath.Base(dir) {
		return nil, &damage{fmt.Errorf("%s is of VM %q", filepath.Join(dir, recordFile), r.Spec.ID)}
	}
	return &r, nil
}
