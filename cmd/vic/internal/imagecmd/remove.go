package imagecmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/virtual-kubelet/vic/cmd/vic/internal/cli"
	"github.com/virtual-kubelet/vic/node/statedir"
	"github.com/virtual-kubelet/vic/operations/images"
	"github.com/virtual-kubelet/vic/persona"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
	"github.com/virtual-kubelet/vic/portlayer/podvm/rundir"
	"github.com/virtual-kubelet/vic/portlayer/qemu"
)

func newRemoveCommand() *cobra.Command {
	var flags imageFlags
	var force bool
	cmd := &cobra.Command{
		Use:   "rm NAME-or-ID...",
		Short: "Remove names of images, and images without a name",
		Long: `Removes names of images, and an image with its last name. It keeps an image that a pod VM has, running or not, unless --force
is given. The VM then keeps its disk, and a pod that starts anew needs the image again.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := flags.openExistingStore()
			if err != nil {
				return err
			}
			var failed error
			for _, ref := range args {
				failed = errors.Join(failed, flags.remove(cmd.Context(), store, ref, force))
			}
			return failed
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "remove also images that pod VMs have")
	return cmd
}

func (f *imageFlags) remove(ctx context.Context, store *persona.Store, ref string, force bool) error {
	if !force {
		img, err := store.Lookup(ref)
		if err != nil {
			return imageMisuse(err)
		}
		vms, err := f.podVMs()
		if err != nil {
			return err
		}
		if users := images.Users(img, vms); len(users) > 0 && !hasAnotherName(img, ref) {
			return fmt.Errorf("image %q is in use by %s (--force removes it all the same)", ref, describeUsers(users))
		}
	}
	return imageMisuse(store.Remove(ctx, ref))
}

// podVMs are those of the state directory, where there are any: QEMU's, and those of pods that run elsewhere or whose VM has
// vanished, as they were last seen.
func (f *imageFlags) podVMs() ([]podvm.VM, error) {
	state, err := cli.OpenExisting(f.dir())
	if err != nil {
		return nil, err
	}
	vms, _, err := qemu.List(state.VCH()) // of VMs whose records are damaged, what is remembered counts
	if err != nil {
		return nil, err
	}
	remembered, err := rememberedVMs(state)
	if err != nil {
		return nil, fmt.Errorf("list pod VMs: %w", err)
	}
	var all []podvm.VM
	for _, vm := range vms {
		all = append(all, podvm.VM{VM: vm})
		delete(remembered, vm.ID())
	}
	for _, vm := range remembered {
		all = append(all, podvm.VM{VM: vm})
	}
	return all, nil
}

// rememberedVMs are those of the pods that have a run directory, by UID.
func rememberedVMs(state *statedir.Dir) (map[string]portlayer.VM, error) {
	vms := map[string]portlayer.VM{}
	if _, err := os.Stat(state.Runs()); errors.Is(err, os.ErrNotExist) {
		return vms, nil
	}
	store, err := rundir.Open(rundir.Config{Root: state.Runs()})
	if err != nil {
		return nil, err
	}
	uids, err := store.List()
	if err != nil {
		return nil, err
	}
	for _, uid := range uids {
		records, err := store.Dir(uid)
		if err != nil {
			return nil, err
		}
		var vm portlayer.VM
		if err := records.LoadVM(&vm); errors.Is(err, rundir.ErrNotFound) {
			continue // it was never seen
		} else if err != nil {
			return nil, fmt.Errorf("pod %s: %w", uid, err)
		}
		vms[uid] = vm
	}
	return vms, nil
}

// hasAnotherName reports whether the image stays when ref is taken away.
func hasAnotherName(img persona.Image, ref string) bool {
	full, err := persona.NormalizeName(ref)
	if err != nil {
		return false
	}
	isRef := func(name string) bool {
		n, err := persona.NormalizeName(name)
		return err == nil && n == full
	}
	return slices.ContainsFunc(img.Names, isRef) && len(img.Names) > 1
}

func describeUsers(users []portlayer.Owner) string {
	first := "pod " + users[0].Namespace + "/" + users[0].Name
	switch len(users) {
	case 1:
		return first
	case 2:
		return first + " and another"
	}
	return fmt.Sprintf("%s and %d others", first, len(users)-1)
}
