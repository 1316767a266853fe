package ownthread_test

import (
	"errors"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/internal/ownthread"
)

func TestTheMainThreadIsLeftAlone(t *testing.T) {
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			assert.NoError(t, ownthread.Run(func() error {
				assert.NotEqual(t, unix.Getpid(), unix.Gettid())
				return nil
			}))
		})
	}
	all.Wait()
}

func TestWhatChangesAThreadStaysOnIt(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own := unix.Gettid()
	failed := errors.New("failed")
	require.ErrorIs(t, ownthread.Run(func() error {
		assert.NotEqual(t, own, unix.Gettid())
		return failed
	}), failed)
}
