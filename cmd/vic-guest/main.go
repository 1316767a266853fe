// Command vic-guest is PID 1 of a pod VM.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/virtual-kubelet/vic/guest"
	"github.com/virtual-kubelet/vic/guest/boot"
	"github.com/virtual-kubelet/vic/guest/process"
	"github.com/virtual-kubelet/vic/internal/version"
)

func main() {
	if os.Args[0] == process.PauseProgram {
		process.Pause()
	}
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "vic-guest: this is the first process of a pod VM, and no other")
		os.Exit(2)
	}
	err := guest.Run(context.Background(), version.Version)
	fmt.Fprintln(os.Stderr, "vic-guest:", err)
	// The kernel panics when PID 1 ends, and the hypervisor then ends the VM.
	if err := boot.PowerOff(); err != nil {
		fmt.Fprintln(os.Stderr, "vic-guest: power off:", err)
	}
	os.Exit(1)
}
