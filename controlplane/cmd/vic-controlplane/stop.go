package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/virtual-kubelet/vic/controlplane/internal/statedir"
)

// defaultStopTimeout leaves a stop, which takes ten seconds at most, some time for a busy machine.
const defaultStopTimeout = 20 * time.Second

func newStopCommand(dir *string) *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "stop --dir DIR",
		Short: "Stop the control plane of the directory and wait until it has ended",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if timeout <= 0 {
				return misuse("timeout", "%s is not a time to wait", timeout)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			err := statedir.Stop(ctx, *dir)
			if errors.Is(err, statedir.ErrNotRunning) {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), "not running")
				return err
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "stopped")
			return err
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", defaultStopTimeout, "how `long` to wait")
	return cmd
}
