package turns_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/virtual-kubelet/vic/internal/turns"
)

func TestOneHoldsAKeyAtATime(t *testing.T) {
	var keys turns.Turns
	var holders, most int
	var all errgroup.Group
	for range 50 {
		all.Go(func() error {
			giveBack, err := keys.Take(t.Context(), "key")
			if err != nil {
				return err
			}
			defer giveBack()
			holders++
			most = max(most, holders)
			holders--
			return nil
		})
	}
	require.NoError(t, all.Wait())
	assert.Equal(t, 1, most)
}

func TestKeysDoNotWaitForEachOther(t *testing.T) {
	var keys turns.Turns
	one, err := keys.Take(t.Context(), "one")
	require.NoError(t, err)
	defer one()
	other, err := keys.Take(t.Context(), "other")
	require.NoError(t, err)
	other()
}

func TestWhoGivesUpWaitingLeavesTheTurnToOthers(t *testing.T) {
	var keys turns.Turns
	giveBack, err := keys.Take(t.Context(), "key")
	require.NoError(t, err)
	cause := errors.New("no more")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	_, err = keys.Take(ctx, "key")
	require.ErrorIs(t, err, cause)
	giveBack()
	giveBack, err = keys.Take(t.Context(), "key")
	require.NoError(t, err)
	giveBack()
}
