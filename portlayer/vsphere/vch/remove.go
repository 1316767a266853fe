package vch

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/vsphere"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/internal/vcenter"
)

// PlanRemoval lists what of a VCH there is to remove, and refuses one that has VMs, whose disks would go with it: ErrBusy.
// The boot ISO stays, since other VCHs may have it.
func PlanRemoval(ctx context.Context, cfg vsphere.Config) ([]Step, error) {
	steps, err := planRemoval(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("plan removal of VCH %s: %w", cfg.Name, vcenter.Translate(err))
	}
	return steps, nil
}

// Remove removes what there is, in order; it goes on from where it failed when it is called again.
func Remove(ctx context.Context, steps []Step) error {
	for _, s := range steps {
		if err := s.undo(ctx); err != nil && !errors.Is(vcenter.Translate(err), portlayer.ErrNotFound) {
			return fmt.Errorf("remove %s %s: %w", s.Subject, s.Detail, vcenter.Translate(err))
		}
	}
	return nil
}

func planRemoval(ctx context.Context, cfg vsphere.Config) ([]Step, error) {
	p, err := newPlanner(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := vsphere.RequireNoVMs(ctx, p.config); err != nil {
		return nil, err
	}
	if in := p.store.Path(p.config.Directory) + "/"; strings.HasPrefix(p.config.BootISO, in) {
		return nil, fmt.Errorf("boot ISO %s lies in the VCH's directory, and would go with it: %w", p.config.BootISO, portlayer.ErrBusy)
	}
	var steps []Step
	for _, removal := range []func(context.Context) (Step, error){p.folderRemoval, p.poolRemoval, p.directoryRemoval} {
		step, err := removal(ctx)
		if err != nil && !missing(err) {
			return nil, err
		}
		if err == nil && step.Exists {
			steps = append(steps, step)
		}
	}
	return steps, nil
}

// folderRemoval, poolRemoval and directoryRemoval find what there is to remove; the step does not exist where there is
// nothing.
func (p *planner) folderRemoval(ctx context.Context) (Step, error) {
	if p.config.Folder == "" {
		return Step{}, nil // the datacenter's
	}
	folder, err := p.finder.Folder(ctx, p.config.Folder)
	if err != nil {
		return Step{}, err
	}
	return p.removal("VM folder", p.config.Folder, folder.Common), p.requireEmpty(ctx, folder.Reference(), "VM folder "+p.config.Folder)
}

func (p *planner) poolRemoval(ctx context.Context) (Step, error) {
	if p.config.Pool == "" {
		return Step{}, nil // that of the host or cluster itself
	}
	pool, err := p.finder.ResourcePool(ctx, p.config.Pool)
	if err != nil {
		return Step{}, err
	}
	return p.removal("resource pool", p.config.Pool, pool.Common), p.requireUnused(ctx, pool.Reference())
}

func (p *planner) directoryRemoval(ctx context.Context) (Step, error) {
	s, err := p.directory(ctx, Options{})
	s.undo = func(ctx context.Context) error { return p.directories(p.store).Remove(ctx, p.config.Directory) }
	return s, err
}

func (p *planner) removal(subject, detail string, o object.Common) Step {
	return Step{Subject: subject, Detail: detail, Exists: true, undo: func(ctx context.Context) error { return p.destroy(ctx, o) }}
}

// requireUnused refuses a resource pool that somebody has VMs or pools in: they would move up and lose its limits.
func (p *planner) requireUnused(ctx context.Context, ref types.ManagedObjectReference) error {
	var pool mo.ResourcePool
	if err := property.DefaultCollector(p.config.Session.Client()).RetrieveOne(ctx, ref, []string{"vm", "resourcePool"}, &pool); err != nil {
		return err
	}
	if n := len(pool.Vm) + len(pool.ResourcePool); n > 0 {
		return fmt.Errorf("resource pool %s has %d VMs and pools in it: %w", p.config.Pool, n, portlayer.ErrBusy)
	}
	return nil
}

// requireEmpty refuses a folder with anything in it.
func (p *planner) requireEmpty(ctx context.Context, folder types.ManagedObjectReference, what string) error {
	v, err := view.NewManager(p.config.Session.Client()).CreateContainerView(ctx, folder, []string{"ManagedEntity"}, true)
	if err != nil {
		return err
	}
	defer letGo(ctx, v)
	var entities []mo.ManagedEntity
	if err := v.Retrieve(ctx, []string{"ManagedEntity"}, []string{"name"}, &entities); err != nil {
		return err
	}
	if len(entities) == 0 {
		return nil
	}
	var names []string
	for _, e := range entities {
		names = append(names, e.Name)
	}
	return fmt.Errorf("%s has %s: %w", what, strings.Join(names, ", "), portlayer.ErrBusy)
}

// letGo lets go of a view, which goes with the session at the latest.
func letGo(ctx context.Context, v *view.ContainerView) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	_ = v.Destroy(ctx) // the session may be lost, and it with it
}
