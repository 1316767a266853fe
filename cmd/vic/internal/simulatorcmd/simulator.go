package simulatorcmd

import (
	"github.com/spf13/cobra"

	"github.com/virtual-kubelet/vic/cmd/vic/internal/cli"
	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/standalone"
)

// NewCommand returns the command.
func NewCommand() *cobra.Command {
	var dir string
	var vc standalone.SimulatedVCenter
	cmd := &cobra.Command{
		Use:    standalone.SimulatorCommand,
		Short:  "Serve the simulated vCenter of vic up --vsphere-simulator, which starts this",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if vc.State, err = cli.OpenExisting(dir); err != nil {
				return err
			}
			return standalone.ServeSimulator(cmd.Context(), vc)
		},
	}
	cli.AddDirFlag(cmd.Flags(), &dir)
	cmd.Flags().StringVar(&vc.Accelerator, "accel", config.AccelTCG, "kvm or tcg")
	cmd.Flags().StringVar(&vc.BootISO, "boot-iso", "", "`FILE` that VMs boot")
	return cmd
}
