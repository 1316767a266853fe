package watchers_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/virtual-kubelet/vic/internal/watchers"
)

func TestEachReaderIsToldUntilItsContextEnds(t *testing.T) {
	var w watchers.Watchers
	w.Notify("nobody listens")
	ctx, cancel := context.WithCancel(t.Context())
	one, two := w.Watch(ctx), w.Watch(t.Context())
	w.Notify("a")
	assert.Equal(t, "a", <-one)
	assert.Equal(t, "a", <-two)
	cancel()
	for range one {
	}
	w.Notify("b")
	assert.Equal(t, "b", <-two)
}

func TestASlowReaderHoldsUpNobody(t *testing.T) {
	var w watchers.Watchers
	slow, quick := w.Watch(t.Context()), w.Watch(t.Context())
	const many = 5000
	for range many {
		w.Notify("a")
		<-quick
	}
	assert.Less(t, len(slow), many)
	assert.NotEmpty(t, slow)
}
