package statedir

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/controlplane/internal/atomicfile"
)

// State is how far a control plane has come.
type State string

// The states of a control plane, in their order.
const (
	StateStarting State = "starting"
	StateReady    State = "ready"
	StateStopping State = "stopping"
)

// Record is what the holder of a directory says of itself.
type Record struct {
	PID int `json:"pid"`
	// ProcessStart is when the kernel started the process, in clock ticks since boot (proc(5), field 22 of stat).
	ProcessStart   uint64    `json:"processStart"`
	Started        time.Time `json:"started"`
	State          State     `json:"state"`
	Endpoint       string    `json:"endpoint,omitempty"`
	PodListen      string    `json:"podListen,omitempty"`
	NodeName       string    `json:"nodeName,omitempty"`
	ServiceCIDR    string    `json:"serviceCIDR,omitempty"`
	Kubeconfig     string    `json:"kubeconfig,omitempty"`
	NodeKubeconfig string    `json:"nodeKubeconfig,omitempty"`
	LogFile        string    `json:"logFile,omitempty"`
}

// SaveRecord writes r with this process's id and start.
func (d *Dir) SaveRecord(r Record) error {
	start, err := processStart(os.Getpid())
	if err != nil {
		return err
	}
	r.PID, r.ProcessStart = os.Getpid(), start
	return save(d.Path(recordName), r)
}

// Find returns the record of the process that holds the directory at path, and ErrNotRunning when there is none. For
// the moment between taking the lock and writing the record, the record is one with nothing but the state starting.
func Find(path string) (Record, error) {
	held, err := isHeld(path)
	if err != nil {
		return Record{}, err
	}
	if !held {
		return Record{}, fmt.Errorf("%s: %w", path, ErrNotRunning)
	}
	var r Record
	if err := load(filepath.Join(path, recordName), &r); err != nil && !errors.Is(err, os.ErrNotExist) {
		return Record{}, err
	}
	if start, err := processStart(r.PID); err != nil || start != r.ProcessStart {
		return Record{State: StateStarting}, nil //nolint:nilerr // a process that is gone is not the holder
	}
	return r, nil
}

// isHeld tries the lock in shared mode, so that two who ask do not see each other.
func isHeld(path string) (bool, error) {
	lock, err := os.Open(filepath.Join(path, lockName))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open lock: %w", err)
	}
	defer lock.Close()
	err = unix.Flock(int(lock.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("try lock: %w", err)
	}
	return false, nil
}

func save(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	return atomicfile.Write(path, append(data, '\n'), 0o600)
}

func load(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read state: %w", err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("decode %s: %w", path, err)
	}
	return nil
}
