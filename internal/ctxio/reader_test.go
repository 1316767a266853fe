package ctxio_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/internal/ctxio"
)

func TestACopyEndsWithItsContext(t *testing.T) {
	stopped := errors.New("stopped")
	ctx, stop := context.WithCancelCause(t.Context())
	r := ctxio.NewReader(ctx, strings.NewReader("text"))
	b := make([]byte, 2)
	n, err := r.Read(b)
	require.NoError(t, err)
	assert.Equal(t, 2, n)
	stop(stopped)
	rest, err := io.ReadAll(r)
	require.ErrorIs(t, err, stopped)
	assert.Empty(t, rest)
}
