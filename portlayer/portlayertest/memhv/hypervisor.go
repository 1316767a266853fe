package memhv

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/virtual-kubelet/vic/internal/changes"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/portlayertest/fakeguest"
)

// Config sets a Hypervisor up. The zero value has memory and disk space for anything and boots at once.
type Config struct {
	// Boot is how long a VM runs before its guest opens the port.
	Boot time.Duration
	// MemoryBytes and StorageBytes are what all VMs and disks share; 0 means no bound.
	MemoryBytes, StorageBytes int64
	// Lax makes Update ignore the version that it is given, as no hypervisor should.
	Lax bool
}

// Hypervisor keeps VMs in memory. It is safe for concurrent use.
type Hypervisor struct {
	config  Config
	changed changes.Hub

	mu       sync.Mutex // guards what follows
	vms      map[string]*vm
	disks    map[portlayer.DiskRef]int64
	volumes  map[string]bool
	making   map[portlayer.DiskRef]chan struct{}
	version  uint64
	pid      int
	failures map[string]error
	calls    []string
	// unreadable are VMs that nobody can read.
	unreadable []string
}

var _ portlayer.Hypervisor = (*Hypervisor)(nil)

// vm is one VM; the hypervisor's mutex guards it.
type vm struct {
	portlayer.VM
	guest   *fakeguest.Guest // of the boot that runs
	port    *port
	console []byte
}

// New returns a hypervisor without VMs.
func New(cfg Config) *Hypervisor {
	return &Hypervisor{
		config:   cfg,
		vms:      map[string]*vm{},
		disks:    map[portlayer.DiskRef]int64{},
		volumes:  map[string]bool{},
		making:   map[portlayer.DiskRef]chan struct{}{},
		failures: map[string]error{},
	}
}

// EnsureDisk keeps the size of src's content, of which it checks the digest when that is the content's own.
func (h *Hypervisor) EnsureDisk(ctx context.Context, src portlayer.DiskSource) (portlayer.DiskRef, error) {
	if err := h.enter("EnsureDisk"); err != nil {
		return "", err
	}
	ref := portlayer.DiskRef(src.Digest)
	for {
		h.mu.Lock()
		if _, ok := h.disks[ref]; ok {
			h.mu.Unlock()
			return ref, nil
		}
		made, busy := h.making[ref]
		if !busy {
			made = make(chan struct{})
			h.making[ref] = made
			h.mu.Unlock()
			if err := h.makeDisk(ref, src, made); err != nil {
				return "", fmt.Errorf("make disk %s: %w", ref, err)
			}
			return ref, nil
		}
		h.mu.Unlock()
		select {
		case <-made:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

func (h *Hypervisor) makeDisk(ref portlayer.DiskRef, src portlayer.DiskSource, made chan struct{}) error {
	size, err := measure(src)
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.making, ref)
	close(made)
	if err != nil {
		return err
	}
	if h.config.StorageBytes > 0 && h.usedLocked()+size > h.config.StorageBytes {
		return fmt.Errorf("disk of %d bytes: %w", size, portlayer.ErrOutOfSpace)
	}
	h.disks[ref] = size
	return nil
}

// measure reads the whole content.
func measure(src portlayer.DiskSource) (int64, error) {
	r, err := src.Open()
	if err != nil {
		return 0, fmt.Errorf("open disk source: %w", err)
	}
	defer func() { _ = r.Close() }() // it was only read
	sum := sha256.New()
	n, err := io.Copy(sum, r)
	if err != nil {
		return 0, fmt.Errorf("read disk source: %w", err)
	}
	if n != src.SizeBytes {
		return 0, fmt.Errorf("disk source has %d bytes (sha256:%s), not %d", n, hex.EncodeToString(sum.Sum(nil)), src.SizeBytes)
	}
	return n, nil
}

func (h *Hypervisor) usedLocked() int64 {
	var used int64
	for _, size := range h.disks {
		used += size
	}
	return used
}

// CollectDisks forgets the disks that no VM has and that keep does not want.
func (h *Hypervisor) CollectDisks(_ context.Context, keep func(portlayer.DiskRef) bool) error {
	if err := h.enter("CollectDisks"); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for ref := range h.disks {
		if !h.hasDiskLocked(ref) && !keep(ref) {
			delete(h.disks, ref)
		}
	}
	return nil
}

func (h *Hypervisor) hasDiskLocked(ref portlayer.DiskRef) bool {
	for _, v := range h.vms {
		if slices.ContainsFunc(v.Spec.Disks, func(d portlayer.Disk) bool { return d.Ref == ref }) {
			return true
		}
	}
	return false
}

// HasDisk reports whether a disk is there, for tests of EnsureDisk and CollectDisks.
func (h *Hypervisor) HasDisk(ref portlayer.DiskRef) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, ok := h.disks[ref]
	return ok
}

// Create makes a VM, powered off.
func (h *Hypervisor) Create(_ context.Context, spec portlayer.Spec) (portlayer.VM, error) {
	if err := h.enter("Create"); err != nil {
		return portlayer.VM{}, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	uid := spec.ID
	if _, ok := h.vms[uid]; ok {
		return portlayer.VM{}, fmt.Errorf("create VM %s: %w", uid, portlayer.ErrExists)
	}
	if err := spec.CheckBoot(); err != nil {
		return portlayer.VM{}, fmt.Errorf("create VM %s: %w", uid, err)
	}
	if len(spec.Volumes()) > 0 {
		return portlayer.VM{}, fmt.Errorf("create VM %s with volumes: %w", uid, portlayer.ErrUnsupported)
	}
	if err := h.checkDisksLocked(spec); err != nil {
		return portlayer.VM{}, fmt.Errorf("create VM %s: %w", uid, err)
	}
	h.version++
	v := &vm{VM: portlayer.VM{
		Spec: spec.Clone(), State: portlayer.StateCreated, Version: h.version, CreatedAt: time.Now(),
	}}
	h.vms[uid] = v
	h.changed.Notify(uid)
	return v.show(), nil
}

func (h *Hypervisor) checkDisksLocked(spec portlayer.Spec) error {
	for _, d := range spec.Disks {
		if _, ok := h.disks[d.Ref]; d.Kind == portlayer.DiskImage && !ok {
			return fmt.Errorf("disk %s: %w", d.Serial, portlayer.ErrNotFound)
		}
	}
	return h.checkVolumesLocked(spec)
}

// Update replaces a VM's spec.
func (h *Hypervisor) Update(_ context.Context, spec portlayer.Spec, version uint64) (portlayer.VM, error) {
	if err := h.enter("Update"); err != nil {
		return portlayer.VM{}, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	uid := spec.ID
	v, ok := h.vms[uid]
	switch {
	case !ok:
		return portlayer.VM{}, fmt.Errorf("update VM %s: %w", uid, portlayer.ErrNotFound)
	case v.Version != version && !h.config.Lax:
		return portlayer.VM{}, fmt.Errorf("update VM %s: %w", uid, portlayer.ErrStaleHandle)
	case v.State == portlayer.StateRunning && (spec.Size != v.Spec.Size || !slices.EqualFunc(spec.NICs, v.Spec.NICs, portlayer.NIC.Equal)):
		return portlayer.VM{}, fmt.Errorf("resize running VM %s: %w", uid, portlayer.ErrUnsupported)
	}
	if err := h.checkDisksLocked(spec); err != nil {
		return portlayer.VM{}, fmt.Errorf("update VM %s: %w", uid, err)
	}
	h.version++
	v.Spec, v.Version = spec.Clone(), h.version
	h.changed.Notify(uid)
	return v.show(), nil
}

// Destroy removes a VM.
func (h *Hypervisor) Destroy(_ context.Context, uid string) error {
	if err := h.enter("Destroy"); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.removeLocked(uid)
	return nil
}

func (h *Hypervisor) removeLocked(uid string) {
	v, ok := h.vms[uid]
	if !ok {
		return
	}
	v.stop("")
	delete(h.vms, uid)
	h.changed.Notify(uid)
}

// List returns every VM.
func (h *Hypervisor) List(context.Context) ([]portlayer.VM, error) {
	if err := h.enter("List"); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var vms []portlayer.VM
	for _, v := range h.vms {
		vms = append(vms, v.show())
	}
	return vms, nil
}

// Watch sends UIDs of changed VMs until ctx ends.
func (h *Hypervisor) Watch(ctx context.Context) <-chan string { return h.changed.Watch(ctx) }

// Capacity returns what Config said, or plenty.
func (h *Hypervisor) Capacity(context.Context) (portlayer.Capacity, error) {
	if err := h.enter("Capacity"); err != nil {
		return portlayer.Capacity{}, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	c := portlayer.Capacity{CPUMilli: 8000, MemoryBytes: 64 << 30, StorageBytes: 1 << 40, Pods: 100}
	if h.config.MemoryBytes > 0 {
		c.MemoryBytes = h.config.MemoryBytes
	}
	if h.config.StorageBytes > 0 {
		c.StorageBytes = h.config.StorageBytes
	}
	c.FreeMemoryBytes = c.MemoryBytes - h.runningLocked()
	c.FreeStorageBytes = c.StorageBytes - h.usedLocked()
	c.Unreadable = h.unreadable
	return c, nil
}

// runningLocked is the memory of all VMs that run.
func (h *Hypervisor) runningLocked() int64 {
	var used int64
	for _, v := range h.vms {
		if v.State == portlayer.StateRunning {
			used += v.Spec.Size.MemoryBytes
		}
	}
	return used
}

func (v *vm) show() portlayer.VM {
	c := v.VM
	c.Spec = c.Spec.Clone()
	return c
}
