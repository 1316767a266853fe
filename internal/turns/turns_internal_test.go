package turns

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestNothingIsKeptOfAKeyThatNobodyWants(t *testing.T) {
	var keys Turns
	giveBack, err := keys.Take(t.Context(), "key")
	require.NoError(t, err)
	giveBack()
	assert.Empty(t, keys.keys)
}
