package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/klog/v2"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/version"
)

// envPrefix begins the environment variables that set flags: --api-port is VIC_API_PORT.
const envPrefix = "VIC_"

// klogVerbosity makes what client-go says at its usual level a debug line: -4 is slog.LevelDebug.
const klogVerbosity = 4

func newCommand() *cobra.Command {
	var level, format string
	cmd := &cobra.Command{
		Use:           "vic",
		Short:         "Kubernetes pods that are virtual machines",
		Long:          "vic makes a virtual container host a Kubernetes node and runs every pod on it in a virtual machine of its own.\n\nEvery flag can be set from the environment: --api-port is " + envPrefix + "API_PORT. The flag wins.",
		Version:       version.Version,
		Args:          cobra.ArbitraryArgs,
		RunE:          helpOnly,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := fromEnvironment(cmd.Flags()); err != nil {
				return err
			}
			return setUpLogging(cmd, level, format)
		},
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return misused("%w (see %s --help)", err, cmd.CommandPath())
	})
	cmd.PersistentFlags().StringVar(&level, "log-level", "info", "least level of log lines on standard error: debug, info, warn or error")
	cmd.PersistentFlags().StringVar(&format, "log-format", "text", "form of log lines: text or json")
	cmd.AddCommand(newUpCommand(), newNodeCommand(), newVCHCommand(), newPodVMCommand(), newImageCommand(), newSimulatorCommand())
	wrapArgs(cmd)
	return cmd
}

// wrapArgs makes wrong arguments of every command a misuse; cobra has a hook for flags only.
func wrapArgs(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return misused("%w (see %s --help)", err, cmd.CommandPath())
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		wrapArgs(sub)
	}
}

// fromEnvironment sets the flags that were not given and that the environment has.
func fromEnvironment(flags *pflag.FlagSet) error {
	var first error
	flags.VisitAll(func(f *pflag.Flag) {
		name := envPrefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, ok := os.LookupEnv(name)
		if !ok || f.Changed || first != nil {
			return
		}
		if err := flags.Set(f.Name, value); err != nil {
			first = misused("environment variable %s: %w", name, err)
		}
	})
	return first
}

func setUpLogging(cmd *cobra.Command, level, format string) error {
	handler, err := newLogHandler(cmd.ErrOrStderr(), level, format)
	if err != nil {
		return err
	}
	logger := slog.New(handler)
	slog.SetDefault(logger)
	klog.SetLogger(logr.FromSlogHandler(handler).V(klogVerbosity))
	utilruntime.ErrorHandlers[0] = warnOfError
	cmd.SetContext(logging.Into(cmd.Context(), logger))
	return nil
}

// warnOfError stands in for the handler that calls every error of a Kubernetes library unhandled: it coped, or told the
// user at the other end of a stream, and nobody has to act.
func warnOfError(ctx context.Context, err error, msg string, keysAndValues ...any) {
	attrs := append([]any{"what", msg, "err", err}, keysAndValues...)
	logging.From(ctx).WarnContext(ctx, "error of a Kubernetes library", attrs...)
}

func newLogHandler(w io.Writer, level, format string) (slog.Handler, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, misused("--log-level %q is none of debug, info, warn, error", level)
	}
	options := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return slog.NewTextHandler(w, options), nil
	case "json":
		return slog.NewJSONHandler(w, options), nil
	default:
		return nil, misused("--log-format %q is none of text, json", format)
	}
}

// newGroup makes a command that only holds others.
func newGroup(use, short string, subs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, RunE: helpOnly}
	cmd.AddCommand(subs...)
	return cmd
}

// helpOnly runs a command that only holds others.
func helpOnly(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return misused("unknown command %q for %q", args[0], cmd.CommandPath())
	}
	return cmd.Help()
}

// quantityFlag is a size such as 512Mi; zero is not set.
type quantityFlag struct {
	bytes int64
	text  string
}

func (q *quantityFlag) String() string { return q.text }
func (q *quantityFlag) Type() string   { return "size" }

func (q *quantityFlag) Set(s string) error {
	n, err := parseQuantity(s)
	if err != nil {
		return err
	}
	q.bytes, q.text = n, s
	return nil
}

func parseQuantity(s string) (int64, error) {
	q, err := parseResource(s)
	if err != nil || q.Sign() <= 0 {
		return 0, fmt.Errorf("%q is no size above zero, such as 512Mi or 4Gi", s)
	}
	return q.Value(), nil
}
