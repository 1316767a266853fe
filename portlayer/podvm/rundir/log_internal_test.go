package rundir

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAGuestOpensOnlySoManyAttempts(t *testing.T) {
	store, err := Open(Config{Root: t.TempDir()})
	require.NoError(t, err)
	d, err := store.Dir("pod")
	require.NoError(t, err)
	for i := range int32(100) {
		for _, attempt := range []int32{1000 + i, 1000 - i} {
			d.LogEnd("app", attempt)
			assert.LessOrEqual(t, len(d.logs), openAttempts)
		}
		assert.Contains(t, d.logs, logKey{"app", 1000 + i}, "the latest stays")
	}
}
