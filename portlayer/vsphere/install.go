package vsphere

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// Install is what is to be made of a VCH beside what its Config names.
type Install struct {
	// CPUMHz and MemoryMiB are limits of the resource pool; 0 is none.
	CPUMHz, MemoryMiB int64
	// BootISO is a file of this host that is put where Config.BootISO says; empty puts none.
	BootISO string
}

// Step is one part of a VCH.
type Step struct {
	// Subject and Detail say what it is.
	Subject, Detail string
	// Exists is true when it is there, and nothing is done.
	Exists bool

	make func(ctx context.Context) error
	undo func(ctx context.Context) error // of make
}

// PlanInstall finds out what of a VCH there is and what has to be made, and changes nothing.
func PlanInstall(ctx context.Context, cfg Config, in Install) ([]Step, error) {
	p, err := newPlanner(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("plan VCH %s: %w", cfg.Name, translate(err))
	}
	var steps []Step
	for _, plan := range []func(context.Context, Install) (Step, error){p.pool, p.folder, p.directory, p.iso} {
		step, err := plan(ctx, in)
		if err != nil {
			return nil, fmt.Errorf("plan VCH %s: %w", cfg.Name, translate(err))
		}
		if step.Subject != "" {
			steps = append(steps, step)
		}
	}
	return steps, nil
}

// Make makes what is missing, in order. What it has made it takes back when a later step fails.
func Make(ctx context.Context, steps []Step) error {
	for i, s := range steps {
		if s.Exists {
			continue
		}
		if err := s.make(ctx); err != nil {
			return errors.Join(fmt.Errorf("make %s %s: %w", s.Subject, s.Detail, translate(err)), takeBack(ctx, steps[:i]))
		}
	}
	return nil
}

func takeBack(ctx context.Context, steps []Step) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	var failed error
	for _, s := range slices.Backward(steps) {
		if !s.Exists {
			if err := s.undo(ctx); err != nil {
				failed = errors.Join(failed, fmt.Errorf("take back %s %s: %w", s.Subject, s.Detail, translate(err)))
			}
		}
	}
	return failed
}

// planner finds the parts of a VCH, and what they are in.
type planner struct {
	config     Config
	finder     *find.Finder
	datacenter *object.Datacenter
	store      *object.Datastore
	files      *object.FileManager
}

func newPlanner(ctx context.Context, cfg Config) (*planner, error) {
	if cfg.Directory == "" {
		cfg.Directory = DefaultDirectory(cfg.Name)
	}
	p := &planner{config: cfg, finder: find.NewFinder(cfg.Session.client), files: object.NewFileManager(cfg.Session.client)}
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

func (p *planner) pool(ctx context.Context, in Install) (Step, error) {
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
func poolSpec(in Install) types.ResourceConfigSpec {
	spec := types.DefaultResourceConfigSpec()
	if in.CPUMHz > 0 {
		spec.CpuAllocation.Limit = &in.CPUMHz
	}
	if in.MemoryMiB > 0 {
		spec.MemoryAllocation.Limit = &in.MemoryMiB
	}
	return spec
}

func (p *planner) folder(ctx context.Context, _ Install) (Step, error) {
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

func (p *planner) directory(ctx context.Context, _ Install) (Step, error) {
	s := Step{Subject: "directory", Detail: p.store.Path(p.config.Directory)}
	var err error
	if s.Exists, err = p.directories(p.store).exist(ctx, p.config.Directory); s.Exists || err != nil {
		return s, err
	}
	s.make = func(ctx context.Context) error { return p.directories(p.store).make(ctx, p.config.Directory) }
	s.undo = func(ctx context.Context) error { return p.directories(p.store).remove(ctx, p.config.Directory) }
	return s, nil
}

func (p *planner) directories(on *object.Datastore) directories {
	return directories{p.config.Session.client, p.datacenter, on}
}

func (p *planner) delete(ctx context.Context, file string) error {
	task, err := p.files.DeleteDatastoreFile(ctx, file, p.datacenter)
	if err == nil {
		err = task.Wait(ctx)
	}
	if fault.Is(err, &types.FileNotFound{}) {
		return nil
	}
	return err
}

// iso puts the boot ISO where it has to be. One of another size there is another one, and VMs may be running from it.
func (p *planner) iso(ctx context.Context, in Install) (Step, error) {
	if in.BootISO == "" {
		return Step{}, nil
	}
	s := Step{Subject: "boot ISO", Detail: p.config.BootISO}
	local, err := os.Stat(in.BootISO)
	if err == nil && !local.Mode().IsRegular() {
		err = fs.ErrInvalid
	}
	if err != nil {
		return s, fmt.Errorf("boot ISO %s: %w", in.BootISO, err)
	}
	var to object.DatastorePath
	if !to.FromString(p.config.BootISO) || !strings.HasSuffix(to.Path, ".iso") {
		return s, fmt.Errorf("boot ISO: %q is no datastore path of an .iso", p.config.BootISO)
	}
	store := p.store
	if to.Datastore != store.Name() {
		if store, err = p.finder.Datastore(ctx, to.Datastore); err != nil {
			return s, fmt.Errorf("boot ISO: %w", err)
		}
	}
	if _, err := store.Stat(ctx, to.Path); err == nil {
		s.Exists = true
		return s, sameFile(ctx, store, to.Path, in.BootISO)
	}
	s.make = func(ctx context.Context) error { return p.upload(ctx, store, in.BootISO, to.Path) }
	s.undo = func(ctx context.Context) error { return p.delete(ctx, p.config.BootISO) }
	return s, nil
}

// sameFile refuses a file on the datastore that is not what a file of this host is.
func sameFile(ctx context.Context, store *object.Datastore, path, local string) error {
	remote, _, err := store.Download(ctx, path, &soap.DefaultDownload)
	if err != nil {
		return fmt.Errorf("read %s: %w", store.Path(path), err)
	}
	defer remote.Close()
	mine, err := os.Open(local)
	if err != nil {
		return err
	}
	defer mine.Close()
	var sums [2]hash.Hash
	for i, from := range []io.Reader{remote, mine} {
		sums[i] = sha256.New()
		if _, err := io.Copy(sums[i], from); err != nil {
			return fmt.Errorf("compare %s: %w", store.Path(path), err)
		}
	}
	if !bytes.Equal(sums[0].Sum(nil), sums[1].Sum(nil)) {
		return fmt.Errorf("%s is not %s, and VMs may boot it: give the new one another name", store.Path(path), local)
	}
	return nil
}

// upload puts a file on the datastore, whole or not at all.
func (p *planner) upload(ctx context.Context, store *object.Datastore, local, to string) error {
	if err := p.directories(store).make(ctx, path.Dir(to)); err != nil {
		return err
	}
	part := to + ".part"
	if err := store.UploadFile(ctx, local, part, &soap.DefaultUpload); err != nil {
		return errors.Join(err, p.delete(context.WithoutCancel(ctx), store.Path(part)))
	}
	task, err := p.files.MoveDatastoreFile(ctx, store.Path(part), p.datacenter, store.Path(to), p.datacenter, false)
	if err != nil {
		return err
	}
	return task.Wait(ctx)
}
