package process

import (
	"os/signal"

	"golang.org/x/sys/unix"
)

// PauseProgram is the name that the guest's program has as process 1 of a pod.
const PauseProgram = "/pause"

// Pause is process 1 of a process namespace that the containers of a pod share, as the pause container is elsewhere: it keeps
// the namespace while containers come and go, and what they leave behind is reaped below it. It is the guest's own program
// under the name PauseProgram, in a container with nothing else in it.
//
// It does nothing, until SIGKILL comes from outside the namespace. The kernel reaps for it, since SIGCHLD is ignored;
// every other signal is ignored too, lest a container that signals "its" process 1 ends all others.
func Pause() {
	signal.Ignore()
	for {
		_ = unix.Pause() // returns when a signal came, which there is nothing to do about
	}
}
