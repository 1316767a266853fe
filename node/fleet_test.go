package fleet_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/fleet"
)

// yard is where nodes are made, and where it is written down what became of them.
type yard struct {
	mu   sync.Mutex // guards what follows
	said []string
	fail error         // of the next Open
	end  chan struct{} // ends nodes that run
}

func (y *yard) say(what string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.said = append(y.said, what)
}

// told returns what was said since the last call.
func (y *yard) told() []string {
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
func (y *yard) spec(revision string, refused error) fleet.Spec[*boat] {
	return fleet.Spec[*boat]{
		Revision: revision,
		Check:    func(context.Context) error { y.say("check " + revision); return refused },
		Open: func(context.Context) (*boat, error) {
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

// sail runs a test with a fleet, and ends the fleet.
func sail(t *testing.T, test func(t *testing.T, y *yard, f *fleet.Fleet[*boat])) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		y := &yard{end: make(chan struct{})}
		f := fleet.New[*boat](t.Context(), func(string) {})
		defer f.Close()
		test(t, y, f)
	})
}

func TestANodeIsOpenedOnceForARevision(t *testing.T) {
	sail(t, func(t *testing.T, y *yard, f *fleet.Fleet[*boat]) {
		for range 3 {
			require.NoError(t, f.Apply(t.Context(), "n", y.spec("one", nil)))
			synctest.Wait()
		}
		assert.Equal(t, []string{"open one"}, y.told())
		state, ok := f.State("n")
		require.True(t, ok)
		assert.True(t, state.Open)
		assert.Equal(t, "one", state.Revision)
		assert.Equal(t, []string{"n"}, f.Names())
		_, ok = f.State("m")
		assert.False(t, ok)
	})
}

func TestAChangeIsCheckedBeforeTheNodeIsGivenUp(t *testing.T) {
	sail(t, func(t *testing.T, y *yard, f *fleet.Fleet[*boat]) {
		require.NoError(t, f.Apply(t.Context(), "n", y.spec("one", nil)))
		synctest.Wait()
		refused := errors.New("no such pool")
		require.ErrorIs(t, f.Apply(t.Context(), "n", y.spec("two", refused)), refused)
		synctest.Wait()
		assert.Equal(t, []string{"open one", "check two"}, y.told(), "the node is as it was")
		require.ErrorIs(t, f.Apply(t.Context(), "n", y.spec("two", refused)), refused)
		assert.Empty(t, y.told(), "it is not asked again at once")
		<-time.After(5 * time.Minute)
		require.ErrorIs(t, f.Apply(t.Context(), "n", y.spec("two", refused)), refused)
		assert.Equal(t, []string{"check two"}, y.told())
		require.NoError(t, f.Apply(t.Context(), "n", y.spec("three", nil)))
		synctest.Wait()
		assert.Equal(t, []string{"check three", "close one", "open three"}, y.told())
	})
}

func TestANodeThatCannotBeOpenedIsTriedAgainAndHoldsUpNoOther(t *testing.T) {
	sail(t, func(t *testing.T, y *yard, f *fleet.Fleet[*boat]) {
		broken := errors.New("no vCenter")
		y.failing(broken)
		require.NoError(t, f.Apply(t.Context(), "n", y.spec("one", nil)))
		<-time.After(10 * time.Minute)
		state, _ := f.State("n")
		require.ErrorIs(t, state.Err, broken)
		assert.False(t, state.Open)
		y.failing(nil)
		require.NoError(t, f.Apply(t.Context(), "m", y.spec("other", nil)))
		synctest.Wait()
		assert.Equal(t, []string{"open other"}, y.told())
		<-time.After(2 * time.Minute)
		assert.Equal(t, []string{"open one"}, y.told(), "at most a minute and a bit later")
		state, _ = f.State("n")
		require.NoError(t, state.Err)
	})
}

func TestASpecThatNeverOpenedIsReplacedWithoutACheck(t *testing.T) {
	sail(t, func(t *testing.T, y *yard, f *fleet.Fleet[*boat]) {
		y.failing(errors.New("no vCenter"))
		require.NoError(t, f.Apply(t.Context(), "n", y.spec("one", nil)))
		synctest.Wait()
		y.failing(nil)
		require.NoError(t, f.Apply(t.Context(), "n", y.spec("two", errors.New("not asked"))))
		synctest.Wait()
		assert.Equal(t, []string{"open two"}, y.told())
	})
}

func TestANodeThatFailsIsOpenedAgain(t *testing.T) {
	sail(t, func(t *testing.T, y *yard, f *fleet.Fleet[*boat]) {
		require.NoError(t, f.Apply(t.Context(), "n", y.spec("one", nil)))
		synctest.Wait()
		y.end <- struct{}{}
		synctest.Wait()
		state, _ := f.State("n")
		require.EqualError(t, state.Err, "sunk")
		<-time.After(5 * time.Second)
		assert.Equal(t, []string{"open one", "close one", "open one"}, y.told())
	})
}

func TestRemovalHasItsLastWordBeforeTheNodeIsClosed(t *testing.T) {
	sail(t, func(t *testing.T, y *yard, f *fleet.Fleet[*boat]) {
		require.NoError(t, f.Apply(t.Context(), "n", y.spec("one", nil)))
		synctest.Wait()
		last := func(_ context.Context, b *boat) error { y.say("last " + b.revision); return nil }
		require.NoError(t, f.Remove(t.Context(), "n", last))
		assert.Equal(t, []string{"open one", "last one", "close one"}, y.told())
		assert.Empty(t, f.Names())
		require.NoError(t, f.Remove(t.Context(), "n", last), "a node that is gone is no error")
	})
}

func TestARemovalThatFailsLeavesTheNode(t *testing.T) {
	sail(t, func(t *testing.T, y *yard, f *fleet.Fleet[*boat]) {
		require.NoError(t, f.Apply(t.Context(), "n", y.spec("one", nil)))
		synctest.Wait()
		stuck := errors.New("a VM stays")
		require.ErrorIs(t, f.Remove(t.Context(), "n", func(context.Context, *boat) error { return stuck }), stuck)
		synctest.Wait()
		assert.Equal(t, []string{"open one", "close one", "open one"}, y.told())

		y.failing(errors.New("no vCenter"))
		require.NoError(t, f.Apply(t.Context(), "m", y.spec("two", nil)))
		synctest.Wait()
		require.ErrorIs(t, f.Remove(t.Context(), "m", func(context.Context, *boat) error { return nil }), fleet.ErrNotOpen)
		require.NoError(t, f.Remove(t.Context(), "m", nil), "without a last word it goes")
		assert.Equal(t, []string{"n"}, f.Names())
	})
}

func TestChangesAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		changed := make(chan string, 10)
		y := &yard{end: make(chan struct{})}
		f := fleet.New[*boat](t.Context(), func(name string) { changed <- name })
		require.NoError(t, f.Apply(t.Context(), "n", y.spec("one", nil)))
		assert.Equal(t, "n", <-changed)
		f.Close()
		assert.Equal(t, "n", <-changed)
		assert.Equal(t, []string{"open one", "close one"}, y.told())
	})
}
