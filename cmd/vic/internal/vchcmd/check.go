package vchcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/virtual-kubelet/vic/cmd/vic/internal/cli"
	"github.com/virtual-kubelet/vic/portlayer/vsphere"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/vch"
)

// NewCommand returns `vic vch`.
func NewCommand() *cobra.Command {
	return cli.NewGroup("vch", "Make, check, show and remove virtual container hosts on vSphere",
		newCheckCommand(), newCreateCommand(), newListCommand(), newInspectCommand(), newRemoveCommand())
}

func newCheckCommand() *cobra.Command {
	var flags vchFlags
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check that vSphere has everything that a node's VCH needs, and change nothing",
		Long: `Checks that vSphere has everything that the VCH of a node's configuration needs: certificate, password, clock, resource pool,
VM folder, datastore, port group, boot ISO and every privilege. It changes nothing. It reports everything that is wrong, and fails
if anything is.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return flags.with(cmd.Context(), func(ctx context.Context, cfg vsphere.Config) error {
				return checkVCH(ctx, cmd.OutOrStdout(), cfg)
			})
		},
	}
	flags.add(cmd)
	return cmd
}

// checkVCH shows what was found.
func checkVCH(ctx context.Context, out io.Writer, cfg vsphere.Config) error {
	w := tabwriter.NewWriter(cli.NewPlainWriter(out), 0, 0, 2, ' ', 0)
	wrong := 0
	for _, finding := range vch.Check(ctx, cfg) {
		word := "ok"
		if finding.Err != nil {
			word = "WRONG"
			wrong++
		}
		if _, err := fmt.Fprintf(w, "%s\t%s\t%s\n", word, finding.Subject, finding.Detail); err != nil {
			return err
		}
		if finding.Err == nil {
			continue
		}
		if _, err := fmt.Fprintf(w, "\t\t%s\n", finding.Err); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if wrong > 0 {
		return errors.New("the VCH is not ready for a node")
	}
	return nil
}
