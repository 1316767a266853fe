// Command vic runs Kubernetes pods as virtual machines.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/virtual-kubelet/vic/cmd/vic/internal/cli"
	"github.com/virtual-kubelet/vic/cmd/vic/internal/root"
)

// Exit codes.
const (
	exitFailed  = 1
	exitMisused = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stderr)
	stop()
	os.Exit(code)
}

// run runs a command line, and says on stderr why it failed.
func run(ctx context.Context, args []string, stderr io.Writer) int {
	cmd := root.NewCommand() //nolint:contextcheck // ExecuteContext gives it
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "vic:", err)
	if misuse := (*cli.MisuseError)(nil); errors.As(err, &misuse) {
		return exitMisused
	}
	return exitFailed
}
