package vsphere

import (
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/internal/turns"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/internal/vcenter"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/vmdk"
)

// validRef is the name of an image's disk: the digest, and the capacity in KiB, which a child has to have.
var validRef = regexp.MustCompile(`^([0-9a-f]{64})-([0-9]+)\.vmdk$`)

// imageDisks are the disks that VMs have children of.
type imageDisks struct {
	h      *Hypervisor
	making turns.Turns // by ref

	mu    sync.Mutex // guards what follows
	known map[portlayer.DiskRef]bool
	users map[portlayer.DiskRef]int // operations that give it to a VM right now
}

func newImageDisks(h *Hypervisor) *imageDisks {
	return &imageDisks{h: h, known: map[portlayer.DiskRef]bool{}, users: map[portlayer.DiskRef]int{}}
}

// directory is the datastore path of all images' disks.
func (d *imageDisks) directory() string {
	return d.h.place.datastore.Path(path.Join(d.h.config.Directory, "images"))
}

func (d *imageDisks) path(ref portlayer.DiskRef) string {
	return d.h.place.datastore.Path(path.Join(d.h.config.Directory, "images", string(ref)))
}

func (d *imageDisks) capacityKB(ref portlayer.DiskRef) int64 {
	parts := validRef.FindStringSubmatch(string(ref))
	if parts == nil {
		return 0
	}
	n, _ := strconv.ParseInt(parts[2], 10, 64) // digits; what is too long is not a disk that is known
	return n
}

func (d *imageDisks) has(ref portlayer.DiskRef) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.known[ref]
}

// use keeps the image disks among disks from being collected until release is called.
func (d *imageDisks) use(disks []portlayer.Disk) (release func(), err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, disk := range disks {
		if disk.Kind == portlayer.DiskImage && !d.known[disk.Ref] {
			return nil, fmt.Errorf("image disk %s: %w", disk.Ref, portlayer.ErrNotFound)
		}
	}
	d.countLocked(disks, 1)
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.countLocked(disks, -1)
	}, nil
}

func (d *imageDisks) countLocked(disks []portlayer.Disk, by int) {
	for _, disk := range disks {
		if d.users[disk.Ref] += by; d.users[disk.Ref] == 0 {
			delete(d.users, disk.Ref)
		}
	}
}

// open makes the directory, or finds what it has.
func (d *imageDisks) open(ctx context.Context) error {
	on := vcenter.Directories{Client: d.h.client, Datacenter: d.h.place.datacenter, Store: d.h.place.datastore}
	if err := on.Make(ctx, path.Join(d.h.config.Directory, "images")); err != nil {
		return fmt.Errorf("make %s: %w", d.directory(), err)
	}
	browser, err := d.h.place.datastore.Browser(ctx)
	if err != nil {
		return fmt.Errorf("browse datastore: %w", err)
	}
	search, err := browser.SearchDatastore(ctx, d.directory(), &types.HostDatastoreBrowserSearchSpec{MatchPattern: []string{"*.vmdk"}})
	result, err := d.h.tasks.await(ctx, search, err)
	if err != nil {
		return fmt.Errorf("list %s: %w", d.directory(), err)
	}
	found, ok := result.(types.HostDatastoreBrowserSearchResults)
	if !ok {
		return fmt.Errorf("list %s: task has made %T", d.directory(), result)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range found.File {
		if name := f.GetFileInfo().Path; validRef.MatchString(name) {
			d.known[portlayer.DiskRef(name)] = true
		}
	}
	return nil
}

// EnsureDisk imports the image's disk.
func (h *Hypervisor) EnsureDisk(ctx context.Context, src portlayer.DiskSource) (portlayer.DiskRef, error) {
	name := fmt.Sprintf("%s-%d.vmdk", strings.TrimPrefix(src.Digest, "sha256:"), vmdk.Capacity(src.SizeBytes)/1024)
	if !validRef.MatchString(name) {
		return "", fmt.Errorf("image disk %q: its digest is not sha256: and 64 hex digits", src.Digest)
	}
	ref := portlayer.DiskRef(name)
	giveBack, err := h.disks.making.Take(ctx, name)
	if err != nil {
		return "", fmt.Errorf("make image disk %s: %w", src.Digest, err)
	}
	defer giveBack()
	if h.disks.has(ref) {
		return ref, nil
	}
	if err := h.disks.make(ctx, src, ref); err != nil {
		return "", fmt.Errorf("make image disk %s: %w", src.Digest, vcenter.Translate(err))
	}
	h.disks.mu.Lock()
	defer h.disks.mu.Unlock()
	h.disks.known[ref] = true
	return ref, nil
}

// CollectDisks deletes image disks that no VM has and keep does not want.
func (h *Hypervisor) CollectDisks(ctx context.Context, keep func(portlayer.DiskRef) bool) error {
	// What another process has made of VMs counts.
	if err := h.seen.readAll(ctx); err != nil {
		return fmt.Errorf("collect image disks: %w", vcenter.Translate(err))
	}
	if unreadable, _ := h.seen.blind(time.Now()); len(unreadable) > 0 {
		return fmt.Errorf("collect image disks: nobody knows which ones VM %s has, which can't be read: %w", strings.Join(unreadable, ", "), portlayer.ErrBusy)
	}
	var failed error
	for _, ref := range h.disks.unwanted(keep) {
		if err := h.disks.delete(ctx, ref); err != nil {
			failed = errors.Join(failed, fmt.Errorf("delete image disk %s: %w", ref, vcenter.Translate(err)))
		}
	}
	return failed
}

// unwanted takes what must be deleted out of what is known.
func (d *imageDisks) unwanted(keep func(portlayer.DiskRef) bool) []portlayer.DiskRef {
	d.mu.Lock()
	defer d.mu.Unlock()
	var refs []portlayer.DiskRef
	for ref := range d.known {
		if d.users[ref] == 0 && !d.h.seen.hasDisk(ref) && !keep(ref) {
			refs = append(refs, ref)
			delete(d.known, ref)
		}
	}
	return refs
}

// delete holds off who wants to make the disk again.
func (d *imageDisks) delete(ctx context.Context, ref portlayer.DiskRef) error {
	giveBack, err := d.making.Take(ctx, string(ref))
	if err != nil {
		return err
	}
	defer giveBack()
	if d.has(ref) {
		return nil // it was made again before we had the turn
	}
	return d.deleteFile(ctx, d.path(ref))
}

// deleteFile deletes a disk that no VM has. A missing one is not an error.
func (d *imageDisks) deleteFile(ctx context.Context, file string) error {
	task, err := object.NewVirtualDiskManager(d.h.client).DeleteVirtualDisk(ctx, file, d.h.place.datacenter)
	_, err = d.h.tasks.await(ctx, task, err)
	if fault.Is(err, &types.FileNotFound{}) {
		return nil
	}
	return err
}

// lose forgets disks that somebody may have deleted: the next one who wants them has them made again.
func (d *imageDisks) lose(disks []portlayer.Disk) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, disk := range disks {
		delete(d.known, disk.Ref)
	}
}
