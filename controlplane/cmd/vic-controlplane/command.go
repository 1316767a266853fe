package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/component-base/version"
)

const (
	program = "vic-controlplane"
	// envPrefix is not VIC_: what is set for vic itself must not reach its child.
	envPrefix = "VIC_CONTROLPLANE_"
)

// usageError is a mistake in how the program was called.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// misuse names the flag that is wrong.
func misuse(flag, format string, args ...any) error {
	return usageError{fmt.Errorf("--%s: %w", flag, fmt.Errorf(format, args...))}
}

func newCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   program + " --dir DIR",
		Short: "Run a Kubernetes control plane in one process and one directory",
		Long: `Runs etcd, kube-apiserver, kube-controller-manager and kube-scheduler in this process, in the foreground.
Everything is kept under one directory. Once all works, one line is printed: "ready URL".
Called under the name kubectl, this program is kubectl.`,
		Example:           "  " + program + " --dir /var/lib/vic/controlplane --api-port 6443",
		Version:           version.Get().GitVersion,
		Args:              noArgs,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		PersistentPreRunE: prepare,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	cmd.PersistentFlags().StringVar(&o.dir, "dir", "", "state `directory` (required)")
	o.addFlags(cmd.Flags())
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	cmd.AddCommand(newStatusCommand(&o.dir), newStopCommand(&o.dir))
	return cmd
}

func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unknown command or argument %q", args[0])}
	}
	return nil
}

// prepare takes flags that were not given from the environment, and wants a directory.
func prepare(cmd *cobra.Command, _ []string) error {
	var errs []error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		name := envPrefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, ok := os.LookupEnv(name)
		if !ok || f.Changed {
			return
		}
		if err := cmd.Flags().Set(f.Name, value); err != nil {
			errs = append(errs, usageError{fmt.Errorf("environment variable %s: %w", name, err)})
		}
	})
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	if dir := cmd.Flag("dir"); dir.Value.String() == "" {
		return misuse("dir", "a state directory is required")
	}
	return nil
}
