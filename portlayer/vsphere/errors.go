package vsphere

import (
	"errors"
	"fmt"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/portlayer"
)

// errTaskLost says that vSphere has no such task any more: what it did has to be looked at.
var errTaskLost = errors.New("task is not known any more")

// kinds are vSphere's faults as our kinds, the first match counts.
var kinds = []struct {
	kind   error
	faults []types.BaseMethodFault
}{
	{portlayer.ErrOutOfMemory, []types.BaseMethodFault{
		&types.InsufficientMemoryResourcesFault{}, &types.NumVirtualCpusIncompatible{}, &types.InsufficientHostMemoryCapacityFault{},
		&types.InsufficientCpuResourcesFault{}, &types.InsufficientResourcesFault{},
	}},
	{portlayer.ErrOutOfSpace, []types.BaseMethodFault{&types.NoDiskSpace{}, &types.InsufficientStorageSpace{}}},
	{portlayer.ErrExists, []types.BaseMethodFault{&types.DuplicateName{}}},
	{portlayer.ErrNotFound, []types.BaseMethodFault{&types.ManagedObjectNotFound{}}},
	{portlayer.ErrStaleHandle, []types.BaseMethodFault{&types.ConcurrentAccess{}}},
	{portlayer.ErrBusy, []types.BaseMethodFault{
		&types.TaskInProgress{}, &types.ResourceInUse{}, &types.HostCommunication{}, &types.HostNotConnected{}, &types.NotAuthenticated{},
	}},
}

// translate makes vSphere's error one of ours, where there is one that callers act on. No error of vim25 leaves it.
func translate(err error) error {
	if err == nil {
		return nil
	}
	for _, k := range kinds {
		if errors.Is(err, k.kind) {
			return err
		}
		for _, f := range k.faults {
			if fault.Is(err, f) {
				return fmt.Errorf("%w: %s", k.kind, err) //nolint:errorlint // no vim25 error leaves this package
			}
		}
	}
	if lost(err) {
		return fmt.Errorf("%w: %w", portlayer.ErrBusy, err)
	}
	return err
}
