// Command guest-image builds the kernel and the initrd that every pod VM boots, and the ISO for those on vSphere.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/virtual-kubelet/vic/build/guestimage"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := newCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "guest-image:", err)
		return 1
	}
	return 0
}

func newCommand() *cobra.Command {
	var c guestimage.Config
	cmd := &cobra.Command{
		Use:           "guest-image",
		Short:         "Build the kernel, the initrd and the ISO that pod VMs boot",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := guestimage.Build(cmd.Context(), c)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "guest image in %s: kernel %s, initrd %.12s\n",
				c.Out, m.KernelRelease, m.InitrdSHA256)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.Guest, "guest", "bin/vic-guest", "guest program, linked statically")
	f.StringVar(&c.Out, "out", "bin/guest", "directory for the image")
	f.StringVar(&c.Cache, "cache", defaultCache(), "directory that keeps downloaded packages")
	f.BoolVar(&c.BootISO, "boot-iso", true, "also build boot.iso, which VMs on vSphere boot")
	f.StringVar(&c.KernelPackage, "kernel-package", "", "Debian package of the kernel (default linux-image-cloud-ARCH)")
	return cmd
}

// defaultCache is vic's directory in the user's cache, and one below the working directory where there is no home.
func defaultCache() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = ".cache"
	}
	return filepath.Join(dir, "vic", "guest-image")
}
