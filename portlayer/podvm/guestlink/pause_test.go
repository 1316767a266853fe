package guestlink_test

import (
	"context"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/portlayer/podvm/guestlink"
	"github.com/virtual-kubelet/vic/portlayer/podvm/podvmtest/hostile"
	"github.com/virtual-kubelet/vic/portlayer/podvm/rundir"
)

func TestAGuestThatSendsNonsenseIsAskedLessAndLess(t *testing.T) {
	store, err := rundir.Open(rundir.Config{Root: t.TempDir()})
	require.NoError(t, err)
	logs, err := store.Dir(uid)
	require.NoError(t, err)
	f := &foe{mode: hostile.Many}
	var mu sync.Mutex // guards dials
	var dials []time.Time
	l := guestlink.Open(t.Context(), guestlink.Config{
		Dial: func(ctx context.Context) (io.ReadWriteCloser, error) {
			mu.Lock()
			dials = append(dials, time.Now())
			mu.Unlock()
			return f.dial(ctx)
		},
		Logs: logs, OnChange: func() {}, OnSnapshot: func(*wire.Snapshot) {},
		Expect: func() guestlink.Expect { return guestlink.Expect{Containers: []string{"app"}} },
	})
	require.Eventually(t, func() bool { return f.sessions() > 6 }, time.Minute, 10*time.Millisecond)
	l.Close()
	f.end()
	mu.Lock()
	defer mu.Unlock()
	for i := 1; i < len(dials); i++ {
		assert.GreaterOrEqual(t, dials[i].Sub(dials[i-1]), 50*time.Millisecond<<(i-1))
	}
}
