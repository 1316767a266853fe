// Command vic runs Kubernetes pods as virtual machines.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// Exit codes.
const (
	exitFailed  = 1
	exitMisused = 2
)

func main() {
	os.Exit(run())
}

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := newCommand().ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "vic:", err)
	if misuse := (*usageError)(nil); errors.As(err, &misuse) {
		return exitMisused
	}
	return exitFailed
}

// usageError is a mistake in what the user typed.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

// misused makes a usageError, fmt.Errorf's way.
func misused(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}
