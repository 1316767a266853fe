package changes_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"

	"github.com/virtual-kubelet/vic/internal/changes"
)

func TestEveryReaderGetsAChangeUntilItsContextEnds(t *testing.T) {
	var hub changes.Hub
	hub.Notify("before anybody reads")
	ctx, cancel := context.WithCancel(t.Context())
	one, two := hub.Watch(ctx), hub.Watch(t.Context())
	hub.Notify("a")
	assert.Equal(t, "a", <-one)
	assert.Equal(t, "a", <-two)
	cancel()
	for range one { // ends when the channel is closed
	}
	hub.Notify("b")
	assert.Equal(t, "b", <-two)
}

func TestASlowReaderGetsEachNameOnceAndLosesNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hub changes.Hub
		ctx, cancel := context.WithCancel(t.Context())
		slow := hub.Watch(ctx)
		hub.Notify("on its way")
		synctest.Wait()
		const often = 5000
		for range often {
			hub.Notify("a")
			hub.Notify("b")
		}
		for _, want := range []string{"on its way", "a", "b"} {
			assert.Equal(t, want, <-slow)
		}
		synctest.Wait()
		select {
		case name := <-slow:
			assert.Fail(t, "a change came twice", name)
		default:
		}
		hub.Notify("a")
		assert.Equal(t, "a", <-slow, "it changed again after it was delivered")
		cancel()
	})
}

func TestAFollowerWakesForItsNameAlone(t *testing.T) {
	var hub changes.Hub
	changed, stop := hub.Follow("a")
	hub.Notify("b")
	assert.Empty(t, changed)
	hub.Notify("a")
	hub.Notify("a")
	<-changed
	assert.Empty(t, changed, "two changes that nobody has looked at are one signal")
	stop()
	hub.Notify("a")
	assert.Empty(t, changed)
}

func TestAFollowerOfAllWakesOnceForManyNames(t *testing.T) {
	var hub changes.Hub
	changed, stop := hub.FollowAll()
	defer stop()
	hub.Notify("a")
	hub.Notify("b")
	<-changed
	assert.Empty(t, changed)
}
