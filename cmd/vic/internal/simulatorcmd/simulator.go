package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/virtual-kubelet/vic/portlayer/qemu"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/simulated"
	"github.com/virtual-kubelet/vic/standalone"
)

// simulatorCommand is the command that `vic up --vsphere-simulator` runs as a process of its own.
const simulatorCommand = "simulated-vcenter"

type simulatorOptions struct{ dir, accel, bootISO string }

func newSimulatorCommand() *cobra.Command {
	var o simulatorOptions
	cmd := &cobra.Command{
		Use:    simulatorCommand,
		Short:  "Serve the simulated vCenter of vic up --vsphere-simulator, which starts this",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE:   func(cmd *cobra.Command, _ []string) error { return o.serve(cmd.Context()) },
	}
	addDirFlag(cmd, &o.dir)
	cmd.Flags().StringVar(&o.accel, "accel", string(qemu.AccelTCG), "kvm or tcg")
	cmd.Flags().StringVar(&o.bootISO, "boot-iso", "", "`FILE` that VMs boot")
	return cmd
}

// serve has the vCenter until ctx ends, and its VMs with it.
func (o simulatorOptions) serve(ctx context.Context) error {
	state, err := openExisting(o.dir)
	if err != nil {
		return err
	}
	if err := standalone.BecomeSimulator(state); err != nil {
		return err
	}
	network, err := openNetworkWithAPI(ctx, state)
	if err != nil {
		return err
	}
	vc, err := simulated.Start(ctx, simulated.Config{
		Dir: state.Simulator(), Accel: qemu.Accel(o.accel), Network: simulated.Taps{Network: network}, BootISO: o.bootISO,
	})
	if err != nil {
		return err
	}
	<-ctx.Done()
	vc.Close() //nolint:contextcheck // ctx has ended
	return nil
}
