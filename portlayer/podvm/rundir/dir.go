package rundir

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/durable"
)

const (
	vmFile       = "vm.json"
	snapshotFile = "snapshot.json"
	ackedFile    = "acked.json"
	recordFile   = "record.json"
	logsFolder   = "logs"
)

// Dir is the run directory of one pod. It is safe for concurrent use.
type Dir struct {
	config Config
	path   string

	saving sync.Mutex // held while a record is written or the directory removed

	mu      sync.Mutex // guards what follows
	logs    map[logKey]*log
	live    bool
	removed bool
}

// SaveVM replaces the record of the VM.
func (d *Dir) SaveVM(record any) error { return d.save(vmFile, record) }

// LoadVM reads the record of the VM into record. ErrNotFound.
func (d *Dir) LoadVM(record any) error { return d.load(vmFile, record) }

// SaveSnapshot replaces the guest's snapshot.
func (d *Dir) SaveSnapshot(s *wire.Snapshot) error { return d.save(snapshotFile, s) }

// LoadSnapshot returns the guest's latest snapshot. ErrNotFound.
func (d *Dir) LoadSnapshot() (*wire.Snapshot, error) {
	var s wire.Snapshot
	if err := d.load(snapshotFile, &s); err != nil {
		return nil, err
	}
	return &s, nil
}

// SaveAcked replaces the record of which events are dealt with.
func (d *Dir) SaveAcked(record any) error { return d.save(ackedFile, record) }

// LoadAcked reads the record of which events are dealt with into record. ErrNotFound.
func (d *Dir) LoadAcked(record any) error { return d.load(ackedFile, record) }

// SaveRecord replaces what is kept for those above the port layer.
func (d *Dir) SaveRecord(record json.RawMessage) error { return d.save(recordFile, record) }

// LoadRecord returns what SaveRecord kept. ErrNotFound.
func (d *Dir) LoadRecord() (json.RawMessage, error) {
	var record json.RawMessage
	if err := d.load(recordFile, &record); err != nil {
		return nil, err
	}
	return record, nil
}

// SetLive says whether the VM runs. Readers that follow a log wait for more only while it does.
func (d *Dir) SetLive(live bool) {
	d.mu.Lock()
	d.live = live
	logs := d.allLocked()
	d.mu.Unlock()
	for _, l := range logs {
		l.setLive(live)
	}
}

// save writes a file in one step: after a crash there is the old content or the new one.
func (d *Dir) save(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	d.saving.Lock()
	defer d.saving.Unlock()
	if d.gone() {
		return fmt.Errorf("write %s: %w", name, ErrNotFound)
	}
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		return fmt.Errorf("make run directory: %w", err)
	}
	if err := durable.Write(filepath.Join(d.path, name), b, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

func (d *Dir) load(name string, v any) error {
	b, err := os.ReadFile(filepath.Join(d.path, name))
	if err != nil {
		return notFound(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("decode %s: %w", name, err)
	}
	return nil
}

// remove ends writers and readers; the files are the caller's.
func (d *Dir) remove() {
	d.saving.Lock()
	defer d.saving.Unlock()
	d.mu.Lock()
	d.removed = true
	logs := d.allLocked()
	clear(d.logs)
	d.mu.Unlock()
	for _, l := range logs {
		l.close()
	}
}

func (d *Dir) gone() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.removed
}

func (d *Dir) allLocked() []*log {
	logs := make([]*log, 0, len(d.logs))
	for _, l := range d.logs {
		logs = append(logs, l)
	}
	return logs
}
