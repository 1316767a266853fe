// Package process starts and reaps processes for a program that is PID 1.
//
// PID 1 inherits every orphan, so one loop has to wait for all children; package os/exec, which waits for its own, must
// not be used beside it. A [Reaper] is that loop. A process that it starts, or adopts, delivers its status exactly once,
// however short its life:
//
//	p, err := reaper.Start(process.Spec{Args: []string{"/bin/true"}})
//	<-p.Done()
//	status := p.Status()
//
// A runtime that forks a container and leaves reports the container's pid only afterwards. [Reaper.Hold] keeps the
// statuses of unknown children until then, so that [Reaper.Adopt] finds them.
//
// [Pause] is the other PID 1: that of a process namespace which the containers of a pod share.
package process
