// Command hello-image writes the image of the examples as an archive that vic image import takes. It is a build tool.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/virtual-kubelet/vic/internal/ociimage"
)

// Exit codes besides 0.
const (
	exitFailed  = 1
	exitMisused = 2
)

// errUsage marks a command line that cannot be carried out.
var errUsage = errors.New("wrong usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := newCommand().ExecuteContext(ctx)
	stop()
	if err == nil {
		return
	}
	_, _ = fmt.Fprintln(os.Stderr, "hello-image:", err) // nobody else would see it
	if isUsage(err) {
		os.Exit(exitMisused)
	}
	os.Exit(exitFailed)
}

func isUsage(err error) bool { return errors.Is(err, errUsage) }

type options struct {
	server, busybox, output, name string
}

func newCommand() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:           "hello-image --server FILE --output FILE",
		Short:         "Write the image of the examples as an archive",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("%w: unexpected argument %q", errUsage, args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), o) },
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w: %w", errUsage, err) })
	flags := cmd.Flags()
	flags.StringVar(&o.server, "server", "", "the web server's statically linked program (needed)")
	flags.StringVar(&o.busybox, "busybox", "/usr/bin/busybox", "Debian's busybox-static")
	flags.StringVarP(&o.output, "output", "o", "", "the archive to write (needed)")
	flags.StringVar(&o.name, "name", "hello:latest", "the image's name")
	return cmd
}

func run(ctx context.Context, o options) error {
	if o.server == "" {
		return fmt.Errorf("%w: --server is needed", errUsage)
	}
	if o.output == "" {
		return fmt.Errorf("%w: --output is needed", errUsage)
	}
	spec, err := ociimage.Hello(ctx, o.server, o.busybox)
	if err != nil {
		return err
	}
	img, err := ociimage.Build(spec)
	if err != nil {
		return fmt.Errorf("build image: %w", err)
	}
	return ociimage.WriteDockerSave(img, o.name, o.output)
}
