package vcenter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/task"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/portlayer"
)

// ErrTaskLost says that vSphere has no such task any more: the caller must look at what it did.
var ErrTaskLost = errors.New("task is not known any more")

// kinds are vSphere's faults as our kinds, the first match counts.
var kinds = []struct {
	kind   error
	faults []types.BaseMethodFault
}{
	{portlayer.ErrOutOfSpace, []types.BaseMethodFault{&types.NoDiskSpace{}, &types.InsufficientStorageSpace{}}},
	{portlayer.ErrExists, []types.BaseMethodFault{&types.DuplicateName{}}},
	{portlayer.ErrNotFound, []types.BaseMethodFault{&types.ManagedObjectNotFound{}}},
	{portlayer.ErrStaleHandle, []types.BaseMethodFault{&types.ConcurrentAccess{}}},
	{portlayer.ErrBusy, []types.BaseMethodFault{
		&types.TaskInProgress{}, &types.ResourceInUse{}, &types.HostCommunication{}, &types.HostNotConnected{}, &types.NotAuthenticated{},
	}},
}

// Translate makes vSphere's error one of ours, where there is one that callers act on. No error of vim25 leaves it.
func Translate(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*portlayer.VolumeError](err); ok {
		return err // its cause is translated
	}
	switch kind := kindOf(err); {
	case kind == nil, errors.Is(err, kind):
		return err
	default:
		return fmt.Errorf("%w: %s", kind, err) //nolint:errorlint // no vim25 error leaves this package
	}
}

// kindOf is the kind of error that callers act on; nil where there is none.
func kindOf(err error) error {
	for _, k := range kinds {
		if errors.Is(err, k.kind) {
			return k.kind
		}
		for _, f := range k.faults {
			if fault.Is(err, f) {
				return k.kind
			}
		}
	}
	var insufficient types.BaseInsufficientResourcesFault // of host, pool or cluster, also what HA keeps back
	if _, ok := fault.As(err, &insufficient); ok || errors.Is(err, portlayer.ErrOutOfMemory) {
		return portlayer.ErrOutOfMemory
	}
	if Lost(err) || errors.Is(err, ErrTaskLost) {
		return portlayer.ErrBusy
	}
	return nil
}

// NotStarted is the error of a power-on whose task failed for a reason that is none of our kinds.
func NotStarted(err error) error {
	if failed, ok := errors.AsType[task.Error](err); ok && kindOf(err) == nil {
		return &portlayer.PowerError{Reason: "vSphere does not start it: " + failed.Error()}
	}
	return err
}

// Lost reports whether no answer came or only a part of one, rather than a bad one.
func Lost(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var broken *url.Error
	var cut *net.OpError
	return errors.As(err, &broken) || errors.As(err, &cut) || errors.Is(err, io.ErrUnexpectedEOF)
}
