package vch

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/portlayer/vsphere"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/internal/vcenter"
)

// undoTimeout is how long it may take to undo what failed.
const undoTimeout = 30 * time.Second

// Options are what is to be made of a VCH beside what its Config names.
type Options struct {
	// CPUMHz and MemoryMiB are limits of the resource pool; 0 means none.
	CPUMHz, MemoryMiB int64
	// BootISO is a file of this host that is put where Config.BootISO says; empty puts none.
	BootISO string
}

// Step is one part of a VCH.
type Step struct {
	// Subject and Detail say what it is.
	Subject, Detail string
	// Exists is true when it is there, and nothing is done. Missing is true when it is not, and nothing is done for want of a file.
	Exists, Missing bool

	make func(ctx context.Context) error
	undo func(ctx context.Context) error // of make
}

// PlanCreate finds out what of a VCH there is and what has to be made, and changes nothing.
func PlanCreate(ctx context.Context, cfg vsphere.Config, in Options) ([]Step, error) {
	p, err := newPlanner(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("plan VCH %s: %w", cfg.Name, vcenter.Translate(err))
	}
	var steps []Step
	for _, plan := range []func(context.Context, Options) (Step, error){p.pool, p.folder, p.directory, p.iso} {
		step, err := plan(ctx, in)
		if err != nil {
			return nil, fmt.Errorf("plan VCH %s: %w", cfg.Name, vcenter.Translate(err))
		}
		if step.Subject != "" {
			steps = append(steps, step)
		}
	}
	return steps, nil
}

// Create makes what is missing, in order. What it has made it takes back when a later step fails.
func Create(ctx context.Context, steps []Step) error {
	for i, s := range steps {
		if s.Exists || s.Missing {
			continue
		}
		if err := s.make(ctx); err != nil {
			return errors.Join(fmt.Errorf("make %s %s: %w", s.Subject, s.Detail, vcenter.Translate(err)), takeBack(ctx, steps[:i]))
		}
	}
	return nil
}

func takeBack(ctx context.Context, steps []Step) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	var failed error
	for _, s := range slices.Backward(steps) {
		if !s.Exists && !s.Missing {
			if err := s.undo(ctx); err != nil {
				failed = errors.Join(failed, fmt.Errorf("take back %s %s: %w", s.Subject, s.Detail, vcenter.Translate(err)))
			}
		}
	}
	return failed
}

// planner finds the parts of a VCH, and what they are in.
type planner struct {
	config     vsphere.Config
	finder     *find.Finder
	datacenter *object.Datacenter
	store      *object.Datastore
	files      *object.FileManager
}

func newPlanner(ctx context.Context, cfg vsphere.Config) (*planner, error) {
	if cfg.Directory == "" {
		cfg.Directory = vsphere.DefaultDirectory(cfg.Name)
	}
	p := &planner{config: cfg, finder: find.NewFinder(cfg.Session.Client()), files: object.NewFileManager(cfg.Session.Client())}
	var err error
	if p.datacenter, err = p.finder.DatacenterOrDefault(ctx, cfg.Datacenter); err != nil {
		return nil, fmt.Errorf("datacenter: %w", err)
	}
	p.finder.SetDatacenter(p.datacenter)
	if p.store, err = p.finder.DatastoreOrDefault(ctx, cfg.Datastore); err != nil {
		return nil, fmt.Errorf("datastore: %w", err)
	}
	return p, nil
}

// missing reports whether err says that there is no such thing.
func missing(err error) bool {
	var none *find.NotFoundError
	return errors.As(err, &none)
}

func (p *planner) pool(ctx context.Context, in Options) (Step, error) {
	s := Step{Subject: "resource pool", Detail: p.config.Pool}
	if p.config.Pool == "" {
		return Step{}, nil // that of the host or cluster itself
	}
	_, err := p.finder.ResourcePool(ctx, p.config.Pool)
	if s.Exists = err == nil; s.Exists || !missing(err) {
		return s, err
	}
	parent, err := p.finder.ResourcePool(ctx, path.Dir(p.config.Pool))
	if err != nil {
		return s, fmt.Errorf("what %s is in: %w", p.config.Pool, err)
	}
	var made *object.ResourcePool
	s.make = func(ctx context.Context) (err error) {
		made, err = parent.Create(ctx, path.Base(p.config.Pool), poolSpec(in))
		return err
	}
	s.undo = func(ctx context.Context) error { return p.destroy(ctx, made.Common) }
	return s, nil
}

// poolSpec is a pool that has no more than its limits, and no reservation. vSphere wants all of it to be said.
func poolSpec(in Options) types.ResourceConfigSpec {
	spec := types.DefaultResourceConfigSpec()
	if in.CPUMHz > 0 {
		spec.CpuAllocation.Limit = &in.CPUMHz
	}
	if in.MemoryMiB > 0 {
		spec.MemoryAllocation.Limit = &in.MemoryMiB
	}
	return spec
}

func (p *planner) folder(ctx context.Context, _ Options) (Step, error) {
	s := Step{Subject: "VM folder", Detail: p.config.Folder}
	if p.config.Folder == "" {
		return Step{}, nil // the datacenter's
	}
	_, err := p.finder.Folder(ctx, p.config.Folder)
	if s.Exists = err == nil; s.Exists || !missing(err) {
		return s, err
	}
	parent, err := p.finder.Folder(ctx, path.Dir(p.config.Folder))
	if err != nil {
		return s, fmt.Errorf("what %s is in: %w", p.config.Folder, err)
	}
	var made *object.Folder
	s.make = func(ctx context.Context) (err error) {
		made, err = parent.CreateFolder(ctx, path.Base(p.config.Folder))
		return err
	}
	s.undo = func(ctx context.Context) error { return p.destroy(ctx, made.Common) }
	return s, nil
}

func (p *planner) destroy(ctx context.Context, o object.Common) error {
	task, err := o.Destroy(ctx)
	if err != nil {
		return err
	}
	return task.Wait(ctx)
}

func (p *planner) directory(ctx context.Context, _ Options) (Step, error) {
	s := Step{Subject: "directory", Detail: p.store.Path(p.config.Directory)}
	var err error
	if s.Exists, err = p.directories(p.store).Exist(ctx, p.config.Directory); s.Exists || err != nil {
		return s, err
	}
	s.make = func(ctx context.Context) error { return p.directories(p.store).Make(ctx, p.config.Directory) }
	s.undo = func(ctx context.Context) error { return p.directories(p.store).Remove(ctx, p.config.Directory) }
	return s, nil
}

func (p *planner) directories(on *object.Datastore) vcenter.Directories {
	return vcenter.Directories{Client: p.config.Session.Client(), Datacenter: p.datacenter, Store: on}
}
