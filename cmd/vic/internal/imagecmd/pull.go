package imagecmd

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/virtual-kubelet/vic/cmd/vic/internal/cli"
	"github.com/virtual-kubelet/vic/node"
	"github.com/virtual-kubelet/vic/persona"
	"github.com/virtual-kubelet/vic/persona/keyring"
)

// pullFlags are those of `vic image pull`.
type pullFlags struct {
	imageFlags
	authFile string
	quiet    bool
}

func newPullCommand() *cobra.Command {
	var flags pullFlags
	cmd := &cobra.Command{
		Use:   "pull NAME",
		Short: "Pull an image from a registry",
		Long: `Pulls an image from its registry, for all pods of the state directory. It shows its progress on standard error: in one line
on a terminal, and in a line now and then elsewhere.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return flags.run(cmd, args[0]) },
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&flags.authFile, "authfile", "", "`FILE` with credentials, as docker login writes it (default: none)")
	cmd.Flags().BoolVarP(&flags.quiet, "quiet", "q", false, "show no progress")
	flags.settings.Credentials()
	flags.settings.Registries()
	flags.settings.ImageLimits()
	return cmd
}

func (f *pullFlags) run(cmd *cobra.Command, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	auth, err := f.credentials(cmd.Context(), name)
	if err != nil {
		return err
	}
	store, err := f.openStore()
	if err != nil {
		return err
	}
	img, err := f.pull(cmd.Context(), store, name, persona.PullOptions{Auth: auth}, newPullProgress(cmd.ErrOrStderr()))
	if err != nil {
		return imageMisuse(err)
	}
	return printImage(cmd.OutOrStdout(), "pulled", img)
}

func (f *pullFlags) pull(
	ctx context.Context, store *persona.Store, name string, opts persona.PullOptions, progress *pullProgress,
) (persona.Image, error) {
	if !f.quiet {
		opts.Progress = progress.show
		defer progress.close()
	}
	return store.Pull(ctx, name, opts)
}

// credentials are those for the image of --authfile, and then of programs; there may be none.
func (f *pullFlags) credentials(ctx context.Context, image string) ([]persona.Credentials, error) {
	n := f.settings.Node
	if err := n.CheckProcess(); err != nil {
		return nil, f.settings.Name(err)
	}
	programs, err := node.ImageCredentials(n)
	if err != nil {
		return nil, f.settings.Name(err)
	}
	var ring keyring.Keyring
	if f.authFile != "" {
		text, err := os.ReadFile(f.authFile)
		if err != nil {
			return nil, cli.Misused("--authfile: %w", err)
		}
		if err := ring.AddConfigJSON(text, ""); err != nil {
			return nil, cli.Misused("--authfile %s: %w", f.authFile, err)
		}
	}
	auth := ring.Lookup(image)
	if programs == nil {
		return auth, nil
	}
	more, err := programs.Lookup(ctx, image)
	return append(auth, more...), err
}
