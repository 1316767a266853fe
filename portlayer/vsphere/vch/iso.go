package vch

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
	"strings"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// iso puts the boot ISO where it has to be. It refuses to replace another one there, which VMs may be running from.
func (p *planner) iso(ctx context.Context, in Options) (Step, error) {
	s := Step{Subject: "boot ISO", Detail: p.config.BootISO}
	if in.BootISO != "" {
		local, err := os.Stat(in.BootISO)
		if err == nil && !local.Mode().IsRegular() {
			err = fs.ErrInvalid
		}
		if err != nil {
			return s, fmt.Errorf("boot ISO %s: %w", in.BootISO, err)
		}
	}
	var to object.DatastorePath
	if !to.FromString(p.config.BootISO) || !strings.HasSuffix(to.Path, ".iso") {
		return s, fmt.Errorf("boot ISO: %q is not a datastore path of an .iso", p.config.BootISO)
	}
	store := p.store
	if to.Datastore != store.Name() {
		var err error
		if store, err = p.finder.Datastore(ctx, to.Datastore); err != nil {
			return s, fmt.Errorf("boot ISO: %w", err)
		}
	}
	_, err := store.Stat(ctx, to.Path)
	switch {
	case in.BootISO == "":
		s.Exists, s.Missing = err == nil, err != nil
		return s, nil
	case err == nil:
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
	if err := p.directories(store).Make(ctx, path.Dir(to)); err != nil {
		return err
	}
	part := to + ".part"
	if err := store.UploadFile(ctx, local, part, &soap.DefaultUpload); err != nil {
		return errors.Join(err, p.delete(context.WithoutCancel(ctx), store.Path(part)))
	}
	task, err := p.files.MoveDatastoreFile(ctx, store.Path(part), p.datacenter, store.Path(to), p.datacenter, false)
	if err == nil {
		err = task.Wait(ctx)
	}
	if err != nil {
		return errors.Join(err, p.delete(context.WithoutCancel(ctx), store.Path(part)))
	}
	return nil
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
