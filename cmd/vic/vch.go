package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/virtual-kubelet/vic/portlayer/vsphere"
)

func newVCHCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "vch", Short: "Look at virtual container hosts on vSphere"}
	cmd.AddCommand(newVCHCheckCommand())
	return cmd
}

func newVCHCheckCommand() *cobra.Command {
	var config string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check that vSphere has all that a node's VCH needs, and change nothing",
		Long: `Checks that vSphere has all that the VCH of a node's configuration needs: certificate, password, clock, resource pool, VM
folder, datastore, port group, boot ISO and every privilege. It changes nothing, tells all that is wrong, and fails then.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if config == "" {
				return misused("--config is needed: the file of vic node, with its vsphere section (docs/vsphere.md)")
			}
			f, err := readNodeFile(config)
			if err != nil {
				return err
			}
			if f.VSphere == nil {
				return misused("--config %s: it has no vsphere section", config)
			}
			return f.VSphere.checkAll(cmd.Context(), cmd.OutOrStdout(), f.NodeName)
		},
	}
	cmd.Flags().StringVar(&config, "config", "", "`FILE` with the node's configuration (docs/node.md)")
	return cmd
}

// checkAll shows what was found.
func (f *vsphereFile) checkAll(ctx context.Context, out io.Writer, node string) error {
	session, err := vsphere.Connect(ctx, f.target())
	if err != nil {
		return err
	}
	defer f.logOut(ctx, session)
	findings := append([]vsphere.Finding{{Subject: "login", Detail: f.User + " at " + f.Address}}, vsphere.Check(ctx, f.config(node, session))...)
	w := tabwriter.NewWriter(&plainWriter{w: out}, 0, 0, 2, ' ', 0)
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
		return errors.New("the VCH is not as it has to be")
	}
	return nil
}
