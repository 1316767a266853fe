package podvmcmd

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/virtual-kubelet/vic/cmd/vic/internal/cli"
	"github.com/virtual-kubelet/vic/cmd/vic/internal/podvmview"
	"github.com/virtual-kubelet/vic/node/statedir"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/qemu"
	"github.com/virtual-kubelet/vic/standalone"
)

// NewCommand returns `vic podvm`.
func NewCommand() *cobra.Command {
	return cli.NewGroup("podvm", "Show what the hypervisor really holds",
		newListCommand(), newInspectCommand(), newConsoleCommand(), newRemoveCommand())
}

func newListCommand() *cobra.Command {
	var dir, output string
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List pod VMs; needs no API server",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			state, err := cli.OpenExisting(dir)
			if err != nil {
				return err
			}
			vms, damaged, err := list(cmd.Context(), state)
			if err != nil {
				return err
			}
			for _, d := range damaged {
				fmt.Fprintf(cmd.ErrOrStderr(), "%v (vic podvm rm %s removes it)\n", d, d.UID)
			}
			views := podvmview.All(vms)
			if output == cli.OutputJSON {
				return cli.PrintJSON(cmd.OutOrStdout(), views)
			}
			return podvmview.Table(cmd.OutOrStdout(), views)
		},
	}
	cli.AddDirFlag(cmd.Flags(), &dir)
	cli.AddOutputFlag(cmd, &output)
	return cmd
}

// list returns the pod VMs that QEMU holds for a state directory, with those that can't be read, and those of its simulated
// vCenter.
func list(ctx context.Context, state *statedir.Dir) ([]portlayer.VM, []*qemu.DamagedError, error) {
	vms, damaged, err := qemu.List(state.VCH())
	if err != nil {
		return nil, nil, err
	}
	more, err := standalone.SimulatedVMs(ctx, state)
	return append(vms, more...), damaged, err
}
