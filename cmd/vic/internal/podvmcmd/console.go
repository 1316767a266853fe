package podvmcmd

import (
	"bytes"
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/virtual-kubelet/vic/cmd/vic/internal/cli"
	"github.com/virtual-kubelet/vic/portlayer/qemu"
)

// consolePoll is how often a console that is followed is looked at. The process that has the VM moves
// it to its file once a second.
const consolePoll = 250 * time.Millisecond

type consoleOptions struct {
	dir    string
	follow bool
	raw    bool
	tail   int
}

func newConsoleCommand() *cobra.Command {
	var o consoleOptions
	cmd := &cobra.Command{
		Use:   "console " + podVMArg,
		Short: "Show the console of a pod VM; needs no API server",
		Long: "Show the console of a pod VM, at most its last MiB. It has what the guest's kernel and vic-guest wrote, also when a boot is " +
			"stuck.\n\nControl sequences are left out, since a hostile guest could steer the terminal with them; --raw passes " +
			"them on.",
		Args: cobra.ExactArgs(1),
		PreRunE: func(*cobra.Command, []string) error {
			if o.tail < -1 {
				return cli.Misused("--tail %d is not a number of lines, nor -1 for all", o.tail)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd.Context(), cmd.OutOrStdout(), args[0])
		},
	}
	cli.AddDirFlag(cmd.Flags(), &o.dir)
	cmd.Flags().BoolVarP(&o.follow, "follow", "f", false, "follow the console until the VM ends")
	cmd.Flags().BoolVar(&o.raw, "raw", false, "pass on control characters and sequences")
	cmd.Flags().IntVar(&o.tail, "tail", -1, "number of lines to show from the end; -1 shows all that is kept")
	return cmd
}

func (o consoleOptions) run(ctx context.Context, w io.Writer, name string) error {
	state, vm, err := findPodVM(o.dir, name)
	if err != nil {
		return err
	}
	console, err := qemu.OpenConsole(state.VCH(), vm.ID())
	if err != nil {
		return err
	}
	defer console.Close()
	if !o.raw {
		w = cli.NewPlainWriter(w)
	}
	kept, err := console.Read(ctx)
	if err != nil {
		return err
	}
	if _, err := w.Write(lastLines(kept, o.tail)); err != nil || !o.follow {
		return err
	}
	return followConsole(ctx, w, console)
}

// followConsole copies what comes until the VM has ended and everything was read, or ctx ends.
func followConsole(ctx context.Context, w io.Writer, console *qemu.ConsoleLog) error {
	tick := time.NewTicker(consolePoll)
	defer tick.Stop()
	for {
		running := console.Running() // before the read, so that the last words are read
		b, err := console.Read(ctx)
		if err != nil {
			return err
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		if !running {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil // the user has seen enough
		}
	}
}

// lastLines returns the last n lines of b; -1 is all.
func lastLines(b []byte, n int) []byte {
	if n < 0 {
		return b
	}
	end := len(b)
	if n > 0 {
		end = len(bytes.TrimSuffix(b, []byte("\n")))
	}
	for ; n > 0; n-- {
		if end = bytes.LastIndexByte(b[:end], '\n'); end < 0 {
			return b
		}
	}
	return b[min(end+1, len(b)):]
}
