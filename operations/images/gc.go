package images

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/operations/events"
	"github.com/virtual-kubelet/vic/persona"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
)

// CollectedStore is what the collector of images needs of persona.
type CollectedStore interface {
	List() ([]persona.Image, error)
	Discard(ctx context.Context, digest string) error
	Space() (persona.Space, error)
	Allocated(img persona.Image) int64
}

// CollectedHost is what the collector of images needs of the host.
type CollectedHost interface {
	List(ctx context.Context) ([]podvm.VM, error)
	CollectDisks(ctx context.Context, keep func(portlayer.DiskRef) bool) error
}

// maxImages is how many images are kept however much room there is: what is known of each is in memory.
const maxImages = 1000

// GC says when images are removed. Percentages are of the file system that images are on.
type GC struct {
	Store CollectedStore
	Host  CollectedHost
	// HighPercent is the use at which images are removed, until LowPercent is reached; 100 is never.
	HighPercent, LowPercent int
	// MinAge is how long an image is kept after it was first seen.
	MinAge time.Duration
	// Period is the time between two looks.
	Period time.Duration
}

// Collector removes images that no pod has while the disk is too full, and hypervisors' disks of images that are gone.
// It works as the kubelet's does; its fields are for the one goroutine that runs it.
type Collector struct {
	GC
	holds    *holds
	events   events.Writer
	nodeName string
	kick     chan struct{} // one token: look now

	seen   map[string]*imageUse // by manifest digest
	failed bool                 // the last pass did
}

// imageUse is what is remembered of an image. Zero times are those of images that were there at the start.
type imageUse struct{ firstSeen, lastUsed time.Time }

// NewCollector returns a collector for the node of that name; what images has given to pods is left alone.
func NewCollector(gc GC, images *Manager, nodeName string) *Collector {
	return &Collector{
		GC: gc, holds: images.holds, events: images.events, nodeName: nodeName, kick: images.full,
	}
}

// Run collects until ctx ends. It is called once.
func (c *Collector) Run(ctx context.Context) {
	ticker := time.NewTicker(c.Period)
	defer ticker.Stop()
	for {
		c.report(ctx, c.pass(ctx))
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-c.kick:
		}
	}
}

// report logs a failure, and makes an event of it when it repeats, as the kubelet does.
func (c *Collector) report(ctx context.Context, err error) {
	if err == nil || ctx.Err() != nil {
		c.failed = false
		return
	}
	logging.From(ctx).WarnContext(ctx, "images could not be collected", "err", err)
	if c.failed {
		c.events.Node(c.nodeName, events.Warning(eventGCFailed, "%v", err))
	}
	c.failed = true
}

// pass looks once, and removes what must go.
func (c *Collector) pass(ctx context.Context) error {
	images, err := c.Store.List()
	if err != nil {
		return err
	}
	vms, err := c.Host.List(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	c.remember(images, vms, began)
	space, err := c.Store.Space()
	if err != nil {
		return err
	}
	if space.CapacityBytes <= 0 {
		err := fmt.Errorf("invalid capacity %d on image filesystem", space.CapacityBytes)
		c.events.Node(c.nodeName, events.Warning(eventInvalidDiskCapacity, "%v", err))
		return err
	}
	if c.HighPercent < 100 {
		if images, err = c.thin(ctx, images, began); err != nil {
			return err
		}
	}
	var short error
	if space.UsedPercent() >= c.HighPercent && c.HighPercent < 100 {
		images, short = c.free(ctx, images, space.Excess(c.LowPercent), began)
	}
	return errors.Join(short, c.collectDisks(ctx, images))
}

// remember keeps when images were seen first and used last.
func (c *Collector) remember(images []persona.Image, vms []podvm.VM, now time.Time) {
	held := c.holds.digests()
	first := now
	if c.seen == nil {
		first = time.Time{}
	}
	seen := make(map[string]*imageUse, len(images))
	for _, img := range images {
		use, ok := c.seen[img.Digest]
		if !ok {
			use = &imageUse{firstSeen: first}
		}
		if held[img.Digest] || len(Users(img, vms)) > 0 {
			use.lastUsed = now
		}
		seen[img.Digest] = use
	}
	c.seen = seen
}

// free removes images until it has freed that many bytes, those first that were used the longest ago. It returns what is left.
func (c *Collector) free(ctx context.Context, images []persona.Image, wanted int64, began time.Time) ([]persona.Image, error) {
	var freed int64
	left := slices.Clone(images)
	for _, img := range c.candidates(images, began) {
		if freed >= wanted {
			break
		}
		removed, err := c.discard(ctx, img)
		if err != nil {
			return left, err
		}
		if !removed {
			continue
		}
		left = without(left, img)
		// Images with the same layers share a disk, which goes with the last of them.
		if !slices.ContainsFunc(left, func(o persona.Image) bool { return o.DiskDigest == img.DiskDigest }) {
			freed += img.DiskBytes
		}
	}
	if freed < wanted {
		c.events.Node(c.nodeName, events.Warning(eventFreeDiskSpaceFailed, "Failed to garbage collect required amount of images. "+
			"Attempted to free %d bytes, but only found %d bytes eligible to free.", wanted, freed))
		return left, fmt.Errorf("wanted to free %d bytes and found only %d", wanted, freed)
	}
	return left, nil
}

// thin removes images until there are no more than maxImages, those first that were used the longest ago. It returns what is left.
func (c *Collector) thin(ctx context.Context, images []persona.Image, began time.Time) ([]persona.Image, error) {
	if len(images) <= maxImages {
		return images, nil
	}
	left := slices.Clone(images)
	for _, img := range c.candidates(images, began) {
		if len(left) <= maxImages {
			break
		}
		removed, err := c.discard(ctx, img)
		if err != nil {
			return left, err
		}
		if removed {
			left = without(left, img)
		}
	}
	return left, nil
}

// discard removes an image unless a pod was given it, and returns whether it did.
func (c *Collector) discard(ctx context.Context, img persona.Image) (bool, error) {
	removed, err := c.holds.unlessHeld(img.Digest, func() error { return c.Store.Discard(ctx, img.Digest) })
	if err != nil {
		return false, fmt.Errorf("remove image %s: %w", img.Digest, err)
	}
	if removed {
		logging.From(ctx).InfoContext(ctx, "image collected", "image", cmp.Or(strings.Join(img.Names, " "), img.Digest))
	}
	return removed, nil
}

func without(images []persona.Image, gone persona.Image) []persona.Image {
	return slices.DeleteFunc(images, func(img persona.Image) bool { return img.Digest == gone.Digest })
}

// candidates are the images that may go, in the order in which they do. What was imported may be had from nowhere again.
func (c *Collector) candidates(images []persona.Image, began time.Time) []persona.Image {
	var all []persona.Image
	for _, img := range images {
		use := c.seen[img.Digest]
		if !use.lastUsed.Before(began) || began.Sub(use.firstSeen) < c.MinAge || len(img.RepoDigests) == 0 {
			continue
		}
		img.DiskBytes = c.Store.Allocated(img)
		all = append(all, img)
	}
	slices.SortStableFunc(all, func(a, b persona.Image) int {
		ua, ub := c.seen[a.Digest], c.seen[b.Digest]
		return cmp.Or(ua.lastUsed.Compare(ub.lastUsed), ua.firstSeen.Compare(ub.firstSeen))
	})
	return all
}

// collectDisks removes the hypervisor's disks of images that are gone. While a VM is being changed it is left to the next pass.
func (c *Collector) collectDisks(ctx context.Context, images []persona.Image) error {
	err := c.Host.CollectDisks(ctx, func(ref portlayer.DiskRef) bool {
		return slices.ContainsFunc(images, func(img persona.Image) bool { return ref.IsOf(img.DiskDigest) })
	})
	if errors.Is(err, portlayer.ErrBusy) {
		return nil
	}
	return err
}

// Users are the pods whose VMs, running or not, have the disk of an image.
func Users(img persona.Image, vms []podvm.VM) []portlayer.Owner {
	serial := DiskSerial(img)
	var users []portlayer.Owner
	for i := range vms {
		if slices.ContainsFunc(vms[i].Spec.Disks, func(d portlayer.Disk) bool { return d.Serial == serial }) {
			users = append(users, vms[i].Spec.Owner)
		}
	}
	return users
}
