package vcenter

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// Directories makes and removes directories of one datastore. On vSAN those at the top are objects of their own, which file
// operations neither make nor remove.
type Directories struct {
	Client     *vim25.Client
	Datacenter *object.Datacenter
	Store      *object.Datastore
}

// Make makes a directory, relative to the datastore, and what it is in. An existing one is not an error.
func (d Directories) Make(ctx context.Context, dir string) error {
	top, below, deeper := strings.Cut(path.Clean(dir), "/")
	onVSAN, _, err := d.vsan(ctx)
	if err != nil {
		return err
	}
	if onVSAN {
		if err := d.makeTop(ctx, top); err != nil || !deeper {
			return err
		}
		dir = path.Join(top, below)
	}
	err = object.NewFileManager(d.Client).MakeDirectory(ctx, d.Store.Path(dir), d.Datacenter, true)
	if fault.Is(err, &types.FileAlreadyExists{}) {
		return nil
	}
	return err
}

func (d Directories) makeTop(ctx context.Context, name string) error {
	_, err := object.NewDatastoreNamespaceManager(d.Client).CreateDirectory(ctx, d.Store, name, "")
	if fault.Is(err, &types.FileAlreadyExists{}) {
		return nil
	}
	return err
}

// Exist reports whether a directory is there. It looks into it: vSAN does not list what is at the top as files.
func (d Directories) Exist(ctx context.Context, dir string) (bool, error) {
	browser, err := d.Store.Browser(ctx)
	if err != nil {
		return false, err
	}
	look := &types.HostDatastoreBrowserSearchSpec{MatchPattern: []string{"*.none"}}
	task, err := browser.SearchDatastore(ctx, d.Store.Path(dir), look)
	if err == nil {
		err = task.Wait(ctx)
	}
	if fault.Is(err, &types.FileNotFound{}) {
		return false, nil
	}
	return err == nil, err
}

// Remove removes a directory with what is in it. A missing one is not an error.
func (d Directories) Remove(ctx context.Context, dir string) error {
	dir = path.Clean(dir)
	onVSAN, url, err := d.vsan(ctx)
	if err == nil && onVSAN && !strings.Contains(dir, "/") {
		return d.removeTop(ctx, url, dir)
	}
	if err == nil {
		var task *object.Task
		if task, err = object.NewFileManager(d.Client).DeleteDatastoreFile(ctx, d.Store.Path(dir), d.Datacenter); err == nil {
			err = task.Wait(ctx)
		}
	}
	if fault.Is(err, &types.FileNotFound{}) {
		return nil
	}
	return err
}

// removeTop removes a directory by the path that the datastore itself has for it.
func (d Directories) removeTop(ctx context.Context, url, dir string) error {
	manager := object.NewDatastoreNamespaceManager(d.Client)
	real, err := manager.ConvertNamespacePathToUuidPath(ctx, d.Datacenter, strings.TrimSuffix(url, "/")+"/"+dir)
	if err == nil {
		err = manager.DeleteDirectory(ctx, d.Datacenter, real)
	}
	if fault.Is(err, &types.FileNotFound{}) {
		return nil
	}
	return err
}

// vsan reports whether the datastore is one of vSAN, and its URL.
func (d Directories) vsan(ctx context.Context) (is bool, url string, err error) {
	var facts mo.Datastore
	if err := property.DefaultCollector(d.Client).RetrieveOne(ctx, d.Store.Reference(), []string{"summary.type", "summary.url"}, &facts); err != nil {
		return false, "", fmt.Errorf("type of the datastore: %w", err)
	}
	is = facts.Summary.Type == string(types.HostFileSystemVolumeFileSystemTypeVsan)
	return is, facts.Summary.Url, nil
}
