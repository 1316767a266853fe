package root

import (
	"context"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/klog/v2"

	"github.com/virtual-kubelet/vic/cmd/vic/internal/cli"
	"github.com/virtual-kubelet/vic/cmd/vic/internal/imagecmd"
	"github.com/virtual-kubelet/vic/cmd/vic/internal/nodecmd"
	"github.com/virtual-kubelet/vic/cmd/vic/internal/podvmcmd"
	"github.com/virtual-kubelet/vic/cmd/vic/internal/simulatorcmd"
	"github.com/virtual-kubelet/vic/cmd/vic/internal/upcmd"
	"github.com/virtual-kubelet/vic/cmd/vic/internal/vchcmd"
	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/version"
)

// EnvPrefix begins the environment variables that set flags: --api-port is VIC_API_PORT.
const EnvPrefix = "VIC_"

// klogVerbosity makes what client-go says at its usual level a debug line: -4 is slog.LevelDebug.
const klogVerbosity = 4

// NewCommand returns vic.
func NewCommand() *cobra.Command {
	var level, format string
	cmd := &cobra.Command{
		Use:           "vic",
		Short:         "Kubernetes pods that are virtual machines",
		Long:          "vic makes a virtual container host a Kubernetes node and runs every pod on it in a virtual machine of its own.\n\nEvery flag can be set from the environment: --api-port is " + EnvPrefix + "API_PORT. The flag wins.",
		Version:       version.Version,
		Args:          cobra.ArbitraryArgs,
		RunE:          cli.HelpOnly,
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
		return cli.Misused("%w (see %s --help)", err, cmd.CommandPath())
	})
	cmd.PersistentFlags().StringVar(&level, "log-level", "info", "lowest level of log lines on standard error: debug, info, warn or error")
	cmd.PersistentFlags().StringVar(&format, "log-format", "text", "form of log lines: text or json")
	cmd.AddCommand(upcmd.NewCommand(), nodecmd.NewCommand(), vchcmd.NewCommand(), podvmcmd.NewCommand(), imagecmd.NewCommand(), simulatorcmd.NewCommand())
	wrapArgs(cmd)
	return cmd
}

// wrapArgs makes wrong arguments of every command a misuse; cobra has a hook for flags only.
func wrapArgs(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return cli.Misused("%w (see %s --help)", err, cmd.CommandPath())
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
		name := EnvPrefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, ok := os.LookupEnv(name)
		if !ok || f.Changed || first != nil {
			return
		}
		if err := flags.Set(f.Name, value); err != nil {
			first = cli.Misused("environment variable %s: %w", name, err)
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

// warnOfError stands in for the handler that calls every error of a Kubernetes library unhandled. The library coped, or the
// user at the other end of a stream saw the error, and nobody has to act.
func warnOfError(ctx context.Context, err error, msg string, keysAndValues ...any) {
	attrs := append([]any{"message", msg, "err", err}, keysAndValues...)
	logging.From(ctx).WarnContext(ctx, "error of a Kubernetes library", attrs...)
}

func newLogHandler(w io.Writer, level, format string) (slog.Handler, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, cli.Misused("--log-level %q is not one of debug, info, warn, error", level)
	}
	options := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return logging.Distinct(slog.NewTextHandler(w, options)), nil
	case "json":
		return logging.Distinct(slog.NewJSONHandler(w, options)), nil
	default:
		return nil, cli.Misused("--log-format %q is not one of text, json", format)
	}
}
