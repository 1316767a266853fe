package standalone

import (
	"context"
	"errors"
	"os"

	"github.com/virtual-kubelet/vic/node"
	"github.com/virtual-kubelet/vic/node/qemuvch"
	"github.com/virtual-kubelet/vic/node/statedir"
	"github.com/virtual-kubelet/vic/portlayer/qemu/cgroup"
)

// Purge stops and removes everything of a state directory, also what a killed vic left.
func Purge(ctx context.Context, dir string) (err error) {
	named, err := statedir.At(dir)
	if err != nil {
		return err
	}
	if _, err := os.Stat(named.Path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	state, err := statedir.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, state.Close()) }()
	binary, err := node.BesideProgram("vic-controlplane")
	if err != nil {
		return err
	}
	several, err := state.VCHs()
	if err != nil {
		return err
	}
	for _, one := range several {
		if err := purgeVCH(ctx, one); err != nil {
			return err
		}
	}
	if err := errors.Join(StopControlPlane(ctx, binary, state), StopSimulator(ctx, state)); err != nil {
		return err
	}
	cgroup.Sweep(state.Simulator()) // of VMs that ended with a simulator which was killed
	return purgeVCH(ctx, state)
}

// purgeVCH ends what runs on this host of a VCH, and removes its directory.
func purgeVCH(ctx context.Context, state *statedir.Dir) error {
	if err := qemuvch.Purge(ctx, state); err != nil {
		return err
	}
	return state.Purge()
}
