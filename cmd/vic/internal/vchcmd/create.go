package vchcmd

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/virtual-kubelet/vic/cmd/vic/internal/cli"
	"github.com/virtual-kubelet/vic/portlayer/vsphere"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/vch"
)

func newCreateCommand() *cobra.Command {
	var flags vchFlags
	var in vch.Options
	var memory cli.Size
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make what a node's VCH lacks: resource pool, VM folder, directory, boot ISO",
		Long: `Makes what the VCH of a node's configuration lacks: the resource pool with its limits, the VM folder, the directory on
the datastore, and the boot ISO. What exists already stays as it is. If a step fails, it undoes the steps before. It needs more
privileges than the node does (docs/vsphere.md).`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if in.CPUMHz < 0 {
				return cli.Misused("--cpu-limit %d is below zero", in.CPUMHz)
			}
			in.MemoryMiB = memory.Bytes() >> 20
			return flags.with(cmd.Context(), func(ctx context.Context, cfg vsphere.Config) error {
				steps, err := vch.PlanCreate(ctx, cfg, in)
				if err != nil {
					return err
				}
				if !flags.dryRun {
					if err := vch.Create(ctx, steps); err != nil {
						return err
					}
				}
				return printSteps(cmd.OutOrStdout(), steps, func(s vch.Step) string {
					switch {
					case s.Exists:
						return "exists"
					case s.Missing:
						return "missing, which --boot-iso FILE mends"
					case flags.dryRun:
						return "would make"
					}
					return "made"
				})
			})
		},
	}
	flags.add(cmd)
	flags.addDryRun(cmd)
	cmd.Flags().StringVar(&in.BootISO, "boot-iso", "", "`FILE` to upload to the path that bootISO in the configuration names (make guest-image builds bin/guest/boot.iso)")
	cmd.Flags().Int64Var(&in.CPUMHz, "cpu-limit", 0, "limit of a new resource pool in `MHz`; 0 means none")
	cmd.Flags().Var(&memory, "memory-limit", "limit of a new resource pool, such as 64Gi (default: none)")
	return cmd
}

func newRemoveCommand() *cobra.Command {
	var flags vchFlags
	cmd := &cobra.Command{
		Use:   "rm",
		Short: "Remove a node's VCH that has no VMs: VM folder, resource pool, directory",
		Long: `Removes the VM folder, the resource pool and the directory, with its images, that a node's configuration names. It refuses
a folder with anything in it, and the VCH of a node whose process runs on this host: delete the pods first, then stop the node.
The boot ISO stays.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.requireStopped(); err != nil {
				return err
			}
			return flags.with(cmd.Context(), func(ctx context.Context, cfg vsphere.Config) error {
				steps, err := vch.PlanRemoval(ctx, cfg)
				if err != nil {
					return err
				}
				if !flags.dryRun {
					if err := vch.Remove(ctx, steps); err != nil {
						return err
					}
				}
				return printSteps(cmd.OutOrStdout(), steps, func(vch.Step) string {
					if flags.dryRun {
						return "would remove"
					}
					return "removed"
				})
			})
		},
	}
	flags.add(cmd)
	flags.addDryRun(cmd)
	return cmd
}

// printSteps says of each step what was done.
func printSteps(out io.Writer, steps []vch.Step, done func(vch.Step) string) error {
	for _, s := range steps {
		if _, err := fmt.Fprintf(cli.NewPlainWriter(out), "%s: %s %s\n", done(s), s.Subject, s.Detail); err != nil {
			return err
		}
	}
	return nil
}
