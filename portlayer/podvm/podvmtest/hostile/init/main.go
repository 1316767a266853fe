package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/guest/boot"
	"github.com/virtual-kubelet/vic/guest/channel"
	"github.com/virtual-kubelet/vic/portlayer/podvm/podvmtest/hostile"
)

const (
	portName = "vic.guest.0"
	// dwell is how long each mode lasts, and longDwell where there is time.
	dwell     = time.Second
	longDwell = 20 * time.Second
	// hostTime is how long a host may take at most to come back.
	hostTime = time.Minute
)

func main() {
	if runtime.NumCPU() == 1 {
		fmt.Fprintln(os.Stderr, "hostile: no guest program:", unix.Exec("/vic-guest", []string{"/init"}, os.Environ()))
	}
	if err := run(context.Background(), runtime.NumCPU()); err != nil {
		fmt.Fprintln(os.Stderr, "hostile:", err)
	}
	fmt.Fprintln(os.Stderr, "hostile: end:", boot.PowerOff())
}

func run(ctx context.Context, cpus int) error {
	if err := boot.System(); err != nil {
		return err
	}
	if boot.IsProbe() {
		fmt.Fprintln(os.Stderr, "vic-guest: probe ok")
		return nil
	}
	if cpus == 4 {
		fmt.Fprintln(os.Stderr, "hostile: waiting for a device that never comes")
		for { // Go's own way to wait for nothing is a deadlock
			_ = unix.Pause() // a signal ends it
		}
	}
	if err := boot.LoadModules(); err != nil {
		return err
	}
	port, err := channel.OpenPort(ctx, "/sys", "/dev", portName)
	if err != nil {
		return err
	}
	g := hostile.New(port, rand.Text())
	go misbehave(g, cpus) // ends with the VM
	for {
		fmt.Fprintln(os.Stderr, "hostile: port failed:", g.Serve())
		<-time.After(100 * time.Millisecond)
	}
}

// misbehave begins once the guest has a plan.
func misbehave(g *hostile.Guest, cpus int) {
	<-g.Configured()
	fmt.Fprintln(os.Stderr, "hostile: configured")
	if cpus == 5 {
		g.Become(hostile.Impossible)
		return
	}
	each := dwell
	if cpus == 3 {
		each = longDwell
	}
	var words []string // said again at the end, since the flood of the console takes those before it along
	for _, mode := range hostile.Modes() {
		began := time.Now()
		g.Become(mode)
		did := int64(0)
		if mode == hostile.Console {
			did = shout(each)
		} else {
			<-time.After(each)
			awaitHarm(g)
		}
		did += g.Become(hostile.Honest)
		words = append(words, fmt.Sprintf("hostile: %s did %d in %s", mode, did, time.Since(began).Round(time.Millisecond)))
		fmt.Fprintln(os.Stderr, words[len(words)-1])
	}
	fmt.Fprintf(os.Stderr, "\n%s\nhostile: done\n", strings.Join(words, "\n"))
}

// awaitHarm gives a mode the time that the host takes to come back to the guest.
func awaitHarm(g *hostile.Guest) {
	over := time.After(hostTime)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for g.Did() == 0 {
		select {
		case <-tick.C:
		case <-over:
			return
		}
	}
}

// shout floods the console, and returns how many bytes it took.
func shout(each time.Duration) int64 {
	over := time.After(each)
	line := []byte(strings.Repeat("\x1b[31mflood ", 100) + "\n")
	for did := int64(0); ; {
		select {
		case <-over:
			return did
		default:
		}
		n, err := os.Stderr.Write(line)
		did += int64(n)
		if err != nil {
			return did
		}
	}
}
