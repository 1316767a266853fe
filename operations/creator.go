package operations

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/operations/fields"
	"github.com/virtual-kubelet/vic/operations/images"
	"github.com/virtual-kubelet/vic/operations/plan"
	"github.com/virtual-kubelet/vic/persona"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
)

// scratchSerial is the serial number of every VM's scratch disk.
const scratchSerial = "scratch"

// CreatorHost is what PodCreator needs of the host.
type CreatorHost interface {
	New(ctx context.Context, id portlayer.Owner) (*portlayer.Handle, error)
	Commit(ctx context.Context, h *portlayer.Handle) (podvm.VM, error)
	Discard(h *portlayer.Handle)
	Get(ctx context.Context, uid string) (podvm.VM, error)
	Remove(ctx context.Context, uid string) error
}

// Admitter reserves what a pod requests and memory for its VM.
type Admitter interface {
	Admit(ctx context.Context, pod *corev1.Pod, memoryBytes int64) error
}

// DiskSources gives the disks of images that are here.
type DiskSources interface {
	// Local returns the image that a container of pod starts from where it needs neither be pulled nor asked for.
	Local(pod *corev1.Pod, c *corev1.Container) (persona.Image, bool)
	Source(img persona.Image) portlayer.DiskSource
}

// CreatorConfig is what a PodCreator works with.
type CreatorConfig struct {
	Host         CreatorHost
	Admission    Admitter
	Disks        DiskSources
	Capabilities podvm.Capabilities
	// NodeName and Cluster are those of Config.
	NodeName, Cluster string
	// Scope is the network that VMs join; empty is none.
	Scope    string
	Defaults plan.Defaults
}

// PodCreator makes the VM of a pod, powered off. It is safe for concurrent use.
type PodCreator struct{ cfg CreatorConfig }

// NewPodCreator returns a PodCreator.
func NewPodCreator(cfg CreatorConfig) *PodCreator { return &PodCreator{cfg: cfg} }

// Create makes the pod's VM. One that is there already is left as it is. Errors are *fields.UnsupportedError,
// *worker.RejectionError or portlayer's: ErrExists where something else has the VM's name, ErrBusy where the pod may have a VM that
// can't be read. After any other, there is no VM and no reserved address that was not there before.
func (c *PodCreator) Create(ctx context.Context, pod *corev1.Pod) error {
	if refusals := fields.Check(pod, c.cfg.Capabilities); len(refusals) > 0 {
		return &fields.UnsupportedError{Refusals: refusals}
	}
	size, scratchBytes := plan.Size(pod, c.cfg.Defaults)
	if err := c.cfg.Admission.Admit(ctx, pod, size.MemoryBytes); err != nil {
		return err
	}
	return replay(func() error {
		h, err := c.cfg.Host.New(ctx, c.identity(pod))
		if errors.Is(err, portlayer.ErrExists) {
			return c.there(ctx, string(pod.UID), err)
		}
		if err != nil {
			return err
		}
		defer c.cfg.Host.Discard(h)
		h.SetSize(size)
		h.SetSpreadGroup(plan.SpreadGroup(pod))
		h.AddScratch(scratchSerial, scratchBytes)
		return c.commit(ctx, h, pod)
	})
}

func (c *PodCreator) commit(ctx context.Context, h *portlayer.Handle, pod *corev1.Pod) error {
	if c.cfg.Scope != "" {
		if err := h.JoinScope(c.cfg.Scope); err != nil {
			return err
		}
	}
	var tasks []string
	for _, m := range plan.Members(pod) {
		tasks = append(tasks, m.Name)
		if m.Role == wire.RoleEphemeral {
			continue // its image joins a VM that runs
		}
		if img, ok := c.cfg.Disks.Local(pod, m.Container); ok {
			h.AddImage(images.DiskSerial(img), c.cfg.Disks.Source(img))
		}
	}
	podvm.SetContainers(h, tasks)
	_, err := c.cfg.Host.Commit(ctx, h)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, portlayer.ErrExists):
		return c.there(ctx, string(pod.UID), err)
	case errors.Is(err, portlayer.ErrStaleHandle):
		return err
	case errors.Is(err, portlayer.ErrBusy):
		return err // a VM that can't be read now may be there, and is not one that this has made
	}
	c.rollback(ctx, string(pod.UID))
	return err
}

// there returns nil where the VM that keeps another one from being made is the pod's, and exists where nobody sees it.
func (c *PodCreator) there(ctx context.Context, uid string, exists error) error {
	vm, err := c.cfg.Host.Get(ctx, uid)
	switch {
	case errors.Is(err, portlayer.ErrNotFound), err == nil && vm.State == portlayer.StateRemoved:
		return fmt.Errorf("%w: a VM of that name is there, and it can't be read or is not the pod's", exists)
	default:
		return err
	}
}

// rollback outlives ctx: a pod that is deleted while its VM is being made is what cancels it, and the VM must go all the
// same.
func (c *PodCreator) rollback(ctx context.Context, uid string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
	defer cancel()
	if err := c.cfg.Host.Remove(ctx, uid); err != nil {
		logging.From(ctx).ErrorContext(ctx, "pod VM left behind", "err", err)
	}
}

func (c *PodCreator) identity(pod *corev1.Pod) portlayer.Owner {
	return portlayer.Owner{
		UID: string(pod.UID), Namespace: pod.Namespace, Name: pod.Name,
		Cluster: c.cfg.Cluster, Node: c.cfg.NodeName, Generation: pod.Generation,
	}
}
