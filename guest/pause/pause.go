package pause

import (
	"os/signal"

	"golang.org/x/sys/unix"
)

// Program is the name that the guest's program has as process 1 of a pod.
const Program = "/pause"

// Run does nothing, until SIGKILL comes from outside the namespace. The kernel reaps for it, since SIGCHLD is ignored;
// every other signal is ignored too, lest a container that signals "its" process 1 ends all others.
func Run() {
	signal.Ignore()
	for {
		_ = unix.Pause() // returns when a signal came, which there is nothing to do about
	}
}
