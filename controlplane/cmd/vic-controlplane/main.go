package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/pflag"
	// kubectl's ways to authenticate.
	_ "k8s.io/client-go/plugin/pkg/client/auth"
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
)

const (
	exitFailed  = 1
	exitMisused = 2
)

func main() {
	if filepath.Base(os.Args[0]) == "kubectl" {
		runKubectl()
		return
	}
	// The components' packages put flags of their own there, and cobra would take them over.
	pflag.CommandLine = pflag.NewFlagSet(program, pflag.ContinueOnError)
	// Further signals change nothing: a terminal sends its own beside those of the parent.
	ctx, _ := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	// A parent that was killed leaves us a broken pipe, which must not end us.
	signal.Ignore(syscall.SIGPIPE)
	os.Exit(exitCode(newCommand().ExecuteContext(ctx)))
}

// exitCode reports err once.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", program, err)
	if errors.As(err, new(usageError)) {
		return exitMisused
	}
	return exitFailed
}

// runKubectl does what kubectl's own main does.
func runKubectl() {
	_, _ = logs.GlogSetter(kubectl.GetLogVerbosity(os.Args)) // kubectl's own parser reports what is wrong with it
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		kubectlutil.CheckErr(err)
	}
}
