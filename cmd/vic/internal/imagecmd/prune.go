package imagecmd

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/virtual-kubelet/vic/operations/images"
	"github.com/virtual-kubelet/vic/persona"
)

// pruneFlags are those of `vic image prune`.
type pruneFlags struct {
	imageFlags
	all, dryRun bool
}

func newPruneCommand() *cobra.Command {
	var flags pruneFlags
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Remove images without a tag that no pod VM has",
		Long: `Removes images that have no tag and that no pod VM has, running or not. With --all it removes images with a tag too, also
imported ones. It does not ask first: --dry-run shows what would go.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return flags.run(cmd) },
	}
	flags.add(cmd)
	cmd.Flags().BoolVarP(&flags.all, "all", "a", false, "remove images with a tag too")
	cmd.Flags().BoolVar(&flags.dryRun, "dry-run", false, "only show what would be removed")
	return cmd
}

func (f *pruneFlags) run(cmd *cobra.Command) error {
	store, err := f.openExistingStore()
	if err != nil {
		return err
	}
	vms, err := f.podVMs()
	if err != nil {
		return err
	}
	stored, err := store.List()
	if err != nil {
		return err
	}
	unwanted := func(img persona.Image) bool {
		return (f.all || len(img.Names) == 0) && len(images.Users(img, vms)) == 0
	}
	disks := freedDisks(store, stored, unwanted) // while they are there
	if f.dryRun {
		stored = slices.DeleteFunc(stored, func(img persona.Image) bool { return !unwanted(img) })
		return printPruned(cmd.OutOrStdout(), pruning{"would remove", "would free"}, stored, disks)
	}
	pruned, err := store.Prune(cmd.Context(), unwanted)
	return errors.Join(err, printPruned(cmd.OutOrStdout(), pruning{"removed", "freed"}, pruned, disks))
}

// freedDisks are the sizes on disk, by digest, of disks that go with unwanted images: those that no other image shares.
func freedDisks(store *persona.Store, images []persona.Image, unwanted func(persona.Image) bool) map[string]int64 {
	disks := map[string]int64{}
	for _, img := range images {
		if unwanted(img) {
			disks[img.DiskDigest] = store.Allocated(img)
		}
	}
	for _, img := range images {
		if !unwanted(img) {
			delete(disks, img.DiskDigest)
		}
	}
	return disks
}

// pruning is what has been done, or would be, in words.
type pruning struct{ removed, freed string }

// printPruned prints a line for each image, and how much room they took. Their disks are counted once.
func printPruned(w io.Writer, words pruning, images []persona.Image, disks map[string]int64) (err error) {
	var total int64
	for _, img := range images {
		err = errors.Join(err, printImage(w, words.removed, img))
		total += disks[img.DiskDigest]
		delete(disks, img.DiskDigest)
	}
	_, failed := fmt.Fprintf(w, "%s %s\n", words.freed, mebibytes(total))
	return errors.Join(err, failed)
}
