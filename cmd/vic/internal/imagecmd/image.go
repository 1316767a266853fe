package imagecmd

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/virtual-kubelet/vic/cmd/vic/internal/cli"
	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/node"
	"github.com/virtual-kubelet/vic/persona"
)

// NewCommand returns `vic image`.
func NewCommand() *cobra.Command {
	return cli.NewGroup("image", "Manage the images of a state directory",
		newImportCommand(), newPullCommand(), newListCommand(), newRemoveCommand(), newPruneCommand())
}

// imageFlags are those of every image command.
type imageFlags struct{ settings *cli.Settings }

// add adds the flags that all of them have. Commands that bring images have more.
func (f *imageFlags) add(cmd *cobra.Command) {
	n := config.DefaultNode()
	n.Dir = cli.DefaultDir()
	f.settings = cli.NewSettings(cmd.Flags(), n)
	f.settings.Dir()
}

// dir is the state directory.
func (f *imageFlags) dir() string { return f.settings.Node.Dir }

// openStore opens the image store of the state directory, and makes both where they are missing: images can be imported
// before the first `vic up`.
func (f *imageFlags) openStore() (*persona.Store, error) {
	n := f.settings.Node
	if err := n.CheckProcess(); err != nil {
		return nil, f.settings.Name(err)
	}
	cfg, err := node.ImageStore(n)
	if err != nil {
		return nil, f.settings.Name(err)
	}
	state, err := cli.MakeState(n.Dir)
	if err != nil {
		return nil, err
	}
	cfg.Dir = state.Images()
	return persona.Open(cfg)
}

// openExistingStore opens the image store of a state directory that must be there.
func (f *imageFlags) openExistingStore() (*persona.Store, error) {
	if _, err := cli.OpenExisting(f.dir()); err != nil {
		return nil, err
	}
	return f.openStore()
}

func newImportCommand() *cobra.Command {
	var flags imageFlags
	cmd := &cobra.Command{
		Use:   "import FILE-or-OCI-LAYOUT [NAME]",
		Short: "Import an image from an archive of docker save or an OCI layout",
		Args:  cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := ""
			if len(args) == 2 {
				name = args[1]
				if err := checkName(name); err != nil {
					return err
				}
			}
			store, err := flags.openStore()
			if err != nil {
				return err
			}
			img, err := store.Import(cmd.Context(), args[0], name)
			if err != nil {
				return imageMisuse(err)
			}
			return printImage(cmd.OutOrStdout(), "imported", img)
		},
	}
	flags.add(cmd)
	flags.settings.ImageLimits()
	return cmd
}

func newListCommand() *cobra.Command {
	var flags imageFlags
	var output string
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List images",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := flags.openExistingStore()
			if err != nil {
				return err
			}
			images, err := store.List()
			if err != nil {
				return err
			}
			return printImages(cmd.OutOrStdout(), output, images)
		},
	}
	flags.add(cmd)
	cli.AddOutputFlag(cmd, &output)
	return cmd
}

// checkName refuses a bad name before anything is made.
func checkName(name string) error {
	_, err := persona.NormalizeName(name)
	return imageMisuse(err)
}

// imageMisuse makes a bad name the user's mistake.
func imageMisuse(err error) error {
	if errors.Is(err, persona.ErrInvalidName) {
		return cli.Misused("%w", err)
	}
	return err
}

func printImage(w io.Writer, done string, img persona.Image) error {
	_, err := fmt.Fprintf(w, "%s %s (%s, %d MiB)\n", done, imageName(img), img.ID, (img.DiskBytes+1<<20-1)>>20)
	return err
}

func printImages(w io.Writer, output string, images []persona.Image) error {
	if output == cli.OutputJSON {
		if images == nil {
			images = []persona.Image{}
		}
		return cli.PrintJSON(w, images)
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tIMAGE ID\tDISK\tCREATED")
	for _, img := range images {
		fmt.Fprintf(t, "%s\t%s\t%dMi\t%s\n", imageName(img), shortID(img.ID), (img.DiskBytes+1<<20-1)>>20, img.Created.Format("2006-01-02"))
	}
	return t.Flush()
}

func imageName(img persona.Image) string {
	switch {
	case len(img.Names) > 0:
		return strings.Join(img.Names, ", ")
	case len(img.RepoDigests) > 0:
		return img.RepoDigests[0]
	default:
		return "<none>"
	}
}

// shortID is the twelve digits that Docker shows.
func shortID(id string) string {
	hex := strings.TrimPrefix(id, "sha256:")
	return hex[:min(12, len(hex))]
}
