// Package ownthread runs functions that change their operating system thread for good, such as by entering a namespace.
//
//	err := ownthread.Run(func() error { return netns.Set(other) })
package ownthread

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// Run runs f on a thread that ends with f, and returns what f does. Threads and processes that f starts inherit what it changed.
//
// It is never the main thread: that one can't end, and what /proc/self shows of this process is its.
func Run(f func() error) error {
	done := make(chan error, 1)
	go func() { // ends with f; its thread ends with it, since it is never unlocked
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			done <- Run(f) // on another one, as this goroutine keeps the main thread meanwhile
			runtime.UnlockOSThread()
			return
		}
		done <- f()
	}()
	return <-done
}
