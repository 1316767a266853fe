package vchcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/virtual-kubelet/vic/cmd/vic/internal/cli"
	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/node/vspherevch"
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
VM folder, datastore, port group and what it lets VMs send, addresses, boot ISO and every privilege. It changes nothing. It reports
everything that is wrong, and fails if anything is.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), checkTimeout)
			defer cancel()
			return flags.with(ctx, func(ctx context.Context, cfg vsphere.Config) error {
				e, err := flags.entry()
				if err != nil {
					return err
				}
				return showFindings(cmd.OutOrStdout(), append(vch.Check(ctx, cfg), addresses(e, flags.all)))
			})
		},
	}
	flags.add(cmd)
	return cmd
}

// checkTimeout bounds all that a check looks at.
const checkTimeout = 2 * time.Minute

// addresses says which addresses pods may have, and refuses those that another VCH of the file has in the same port group.
func addresses(e *config.Entry, all []*config.Entry) vch.Finding {
	f := vch.Finding{Subject: "addresses"}
	first, last, err := vspherevch.Addresses(&e.VCH)
	if err != nil {
		f.Err = err
		return f
	}
	f.Detail = fmt.Sprintf("%s to %s of %s; nothing else may have one", first, last, e.Subnet)
	for _, o := range all {
		if o.NodeName == e.NodeName || o.VSphere.Address != e.VSphere.Address || o.VSphere.Network != e.VSphere.Network {
			continue
		}
		from, to, err := vspherevch.Addresses(&o.VCH)
		if err == nil && !to.Less(first) && !last.Less(from) {
			f.Err = errors.Join(f.Err, fmt.Errorf("node %s has %s to %s of the same port group", o.NodeName, from, to))
		}
	}
	return f
}

// showFindings shows what was found.
func showFindings(out io.Writer, findings []vch.Finding) error {
	w := tabwriter.NewWriter(cli.NewPlainWriter(out), 0, 0, 2, ' ', 0)
	wrong := 0
	for _, finding := range findings {
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
