package node_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/node"
)

// yard is where nodes are made, and where it is written down what became of them.
type yard struct {
	mu    sync.Mutex // guards what follows
	said  []string
	fail  error         // of the next Open
	stuck error         // of RemoveVMs
	end   chan struct{} // ends nodes that run
}

func (y *yard) say(what string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.said = append(y.said, what)
}

// calls returns the calls since the last time that it was asked.
func (y *yard) calls() []string {
	y.mu.Lock()
	defer y.mu.Unlock()
	said := y.said
	y.said = nil
	return said
}

func (y *yard) failing(err error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.fail = err
}

// spec is a node that says what becomes of it; refused is what Check returns.
func (y *yard) spec(revision string, refused error) node.Spec {
	return node.Spec{
		Revision: revision,
		Check:    func(context.Context) error { y.say("check " + revision); return refused },
		Open: func(context.Context) (node.Served, error) {
			y.mu.Lock()
			defer y.mu.Unlock()
			if y.fail != nil {
				return nil, y.fail
			}
			y.said = append(y.said, "open "+revision)
			return &boat{y, revision}, nil
		},
	}
}

type boat struct {
	yard     *yard
	revision string
}

func (b *boat) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-b.yard.end:
		return errors.New("sunk")
	}
}

func (b *boat) Close(context.Context) { b.yard.say("close " + b.revision) }

func (b *boat) RemoveVMs(context.Context) error {
	b.yard.say("remove VMs of " + b.revision)
	return b.yard.stuck
}

func (b *boat) Offers(context.Context) (capacity, inUse corev1.ResourceList, err error) {
	return nil, nil, nil
}

// run runs a fleet until end is called.
func run(t *testing.T, f *node.Fleet) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { f.Run(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}

// sail runs a test with a fleet, and ends the fleet.
func sail(t *testing.T, test func(t *testing.T, y *yard, f *node.Fleet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		y := &yard{end: make(chan struct{})}
		f := node.NewFleet(func(string) {})
		defer run(t, f)()
		test(t, y, f)
	})
}

func TestANodeIsOpenedOnceForARevision(t *testing.T) {
	sail(t, func(t *testing.T, y *yard, f *node.Fleet) {
		for range 3 {
			require.NoError(t, f.Apply(t.Context(), "n", y.spec("one", nil)))
			synctest.Wait()
		}
		assert.Equal(t, []string{"open one"}, y.calls())
		state, ok := f.State("n")
		require.True(t, ok)
		assert.NotNil(t, state.Node)
		assert.Equal(t, "one", state.Revision)
		assert.Equal(t, []string{"n"}, f.Names())
		_, ok = f.State("m")
		assert.False(t, ok)
	})
}

func TestAChangeIsCheckedBeforeTheNodeIsGivenUp(t *testing.T) {
	sail(t, func(t *testing.T, y *yard, f *node.Fleet) {
		require.NoError(t, f.Apply(t.Context(), "n", y.spec("one", nil)))
		synctest.Wait()
		refused := errors.New("no such pool")
		require.ErrorIs(t, f.Apply(t.Context(), "n", y.spec("two", refused)), refused)
		synctest.Wait()
		assert.Equal(t, []string{"open one", "check two"}, y.calls(), "the node is as it was")
		require.ErrorIs(t, f.Apply(t.Context(), "n", y.spec("two", refused)), refused)
		assert.Empty(t, y.calls(), "it is not asked again at once")
		<-time.After(5 * time.Minute)
		require.ErrorIs(t, f.Apply(t.Context(), "n", y.spec("two", refused)), refused)
		assert.Equal(t, []string{"check two"}, y.calls())
		require.NoError(t, f.Apply(t.Context(), "n", y.spec("three", nil)))
		synctest.Wait()
		assert.Equal(t, []string{"check three", "close one", "open three"}, y.calls())
	})
}

func TestANodeThatCannotBeOpenedIsTriedAgainAndHoldsUpNoOther(t *testing.T) {
	sail(t, func(t *testing.T, y *yard, f *node.Fleet) {
		broken := errors.New("no vCenter")
		y.failing(broken)
		require.NoError(t, f.Apply(t.Context(), "n", y.spec("one", nil)))
		<-time.After(10 * time.Minute)
		state, _ := f.State("n")
		require.ErrorIs(t, state.Err, broken)
		assert.Nil(t, state.Node)
		y.failing(nil)
		require.NoError(t, f.Apply(t.Context(), "m", y.spec("other", nil)))
		synctest.Wait()
		assert.Equal(t, []string{"open other"}, y.calls())
		<-time.After(2 * time.Minute)
		assert.Equal(t, []string{"open one"}, y.calls(), "at most a minute and a bit later")
		state, _ = f.State("n")
		require.NoError(t, state.Err)
	})
}

func TestASpecThatNeverOpenedIsReplacedWithoutACheck(t *testing.T) {
	sail(t, func(t *testing.T, y *yard, f *node.Fleet) {
		y.failing(errors.New("no vCenter"))
		require.NoError(t, f.Apply(t.Context(), "n", y.spec("one", nil)))
		synctest.Wait()
		y.failing(nil)
		require.NoError(t, f.Apply(t.Context(), "n", y.spec("two", errors.New("not asked"))))
		synctest.Wait()
		assert.Equal(t, []string{"open two"}, y.calls())
	})
}

func TestANodeThatFailsIsOpenedAgain(t *testing.T) {
	sail(t, func(t *testing.T, y *yard, f *node.Fleet) {
		require.NoError(t, f.Apply(t.Context(), "n", y.spec("one", nil)))
		synctest.Wait()
		y.end <- struct{}{}
		synctest.Wait()
		state, _ := f.State("n")
		require.EqualError(t, state.Err, "sunk")
		<-time.After(5 * time.Second)
		assert.Equal(t, []string{"open one", "close one", "open one"}, y.calls())
	})
}

func TestARemovedNodeLosesItsVMsBeforeItIsClosed(t *testing.T) {
	sail(t, func(t *testing.T, y *yard, f *node.Fleet) {
		require.NoError(t, f.Apply(t.Context(), "n", y.spec("one", nil)))
		synctest.Wait()
		require.NoError(t, f.Remove(t.Context(), "n"))
		assert.Equal(t, []string{"open one", "remove VMs of one", "close one"}, y.calls())
		assert.Empty(t, f.Names())
		require.NoError(t, f.Remove(t.Context(), "n"), "a node that is gone is not an error")
	})
}

func TestAnAbandonedNodeKeepsItsVMs(t *testing.T) {
	sail(t, func(t *testing.T, y *yard, f *node.Fleet) {
		require.NoError(t, f.Apply(t.Context(), "n", y.spec("one", nil)))
		synctest.Wait()
		f.Abandon("n")
		f.Abandon("n")
		assert.Equal(t, []string{"open one", "close one"}, y.calls())
		assert.Empty(t, f.Names())
	})
}

func TestARemovalThatFailsLeavesTheNode(t *testing.T) {
	sail(t, func(t *testing.T, y *yard, f *node.Fleet) {
		y.stuck = errors.New("a VM stays")
		require.NoError(t, f.Apply(t.Context(), "n", y.spec("one", nil)))
		synctest.Wait()
		require.ErrorIs(t, f.Remove(t.Context(), "n"), y.stuck)
		synctest.Wait()
		assert.Equal(t, []string{"open one", "remove VMs of one", "close one", "open one"}, y.calls())

		y.failing(errors.New("no vCenter"))
		require.NoError(t, f.Apply(t.Context(), "m", y.spec("two", nil)))
		synctest.Wait()
		require.ErrorIs(t, f.Remove(t.Context(), "m"), node.ErrNotOpen)
		f.Abandon("m")
		assert.Equal(t, []string{"n"}, f.Names())
	})
}

func TestEveryChangeOfAStateIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		changed := make(chan string, 10)
		y := &yard{end: make(chan struct{})}
		f := node.NewFleet(func(name string) { changed <- name })
		end := run(t, f)
		require.NoError(t, f.Apply(t.Context(), "n", y.spec("one", nil)))
		assert.Equal(t, "n", <-changed)
		end()
		assert.Equal(t, "n", <-changed)
		assert.Equal(t, []string{"open one", "close one"}, y.calls())
	})
}

func TestNodesWaitForTheFleetToRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := &yard{end: make(chan struct{})}
		f := node.NewFleet(func(string) {})
		for _, name := range []string{"n", "m", "o"} {
			require.NoError(t, f.Apply(t.Context(), name, y.spec(name, nil)))
		}
		f.Abandon("m")
		require.ErrorIs(t, f.Remove(t.Context(), "o"), node.ErrNotOpen)
		synctest.Wait()
		assert.Empty(t, y.calls())
		end := run(t, f)
		synctest.Wait()
		assert.ElementsMatch(t, []string{"open n", "open o"}, y.calls())
		end()
		require.Error(t, f.Apply(t.Context(), "p", y.spec("p", nil)), "the fleet has ended")
	})
}
