package wait_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/internal/wait"
)

var errStopped = errors.New("stopped")

// stopAfter returns a context that ends after d, with errStopped.
func stopAfter(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(d, func() { cancel(errStopped) })
	return ctx
}

func TestForLastsItsTimeAndNoLongerThanItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		require.NoError(t, wait.For(stopAfter(t, time.Minute), 3*time.Second))
		assert.Equal(t, 3*time.Second, time.Since(begin))
		require.ErrorIs(t, wait.For(stopAfter(t, time.Second), time.Minute), errStopped)
		assert.Equal(t, 4*time.Second, time.Since(begin))
	})
}

func TestUntilAsksAtOnceAndThenAtEveryInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin, asked := time.Now(), 0
		third := func() (bool, error) { asked++; return asked == 3, nil }
		require.NoError(t, wait.Until(t.Context(), time.Second, third))
		assert.Equal(t, 2*time.Second, time.Since(begin))
	})
}

func TestUntilEndsWithAnErrorAndWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		require.ErrorIs(t, wait.Until(t.Context(), time.Second, func() (bool, error) { return false, broken }), broken)
		never := func() (bool, error) { return false, nil }
		require.ErrorIs(t, wait.Until(stopAfter(t, time.Minute), time.Second, never), errStopped)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		err := wait.Until(ended, time.Second, func() (bool, error) { panic("asked after its context had ended") })
		require.ErrorIs(t, err, context.Canceled)
	})
}
