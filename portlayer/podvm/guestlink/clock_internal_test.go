package guestlink

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAClockIsOffWhereNoDelayExplainsIt(t *testing.T) {
	asked := time.Now()
	answered := asked.Add(5 * time.Second) // of a slow guest
	tests := map[string]struct {
		at   time.Time
		want bool
	}{
		"between question and answer":     {asked.Add(2 * time.Second), false},
		"a moment before the question":    {asked.Add(-maxDrift / 2), false},
		"before the question":             {asked.Add(-maxDrift - time.Millisecond), true},
		"a moment after the answer":       {answered.Add(maxDrift / 2), false},
		"after the answer":                {answered.Add(maxDrift + time.Millisecond), true},
		"an hour behind, after a suspend": {asked.Add(-time.Hour), true},
		"not said":                        {time.Time{}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tt.want, off(tt.at.Round(0), asked, answered))
		})
	}
}

func TestOurOwnClockSteps(t *testing.T) {
	before := time.Now()
	assert.False(t, stepped(before, before.Add(time.Hour)))
	// Without the monotonic reading of both, the times of day alone count: nothing to compare with.
	assert.False(t, stepped(before.Round(0), before.Round(0).Add(time.Hour)))
}

func TestSilenceIsMeasuredByAClockThatNobodySets(t *testing.T) {
	m := newMoment()
	m.now()
	require.Contains(t, m.time().String(), " m=+", "the time of day alone would count a suspend as silence")
}
