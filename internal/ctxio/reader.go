// Package ctxio ends reading with a context.
package ctxio

import (
	"context"
	"io"
)

type reader struct {
	ctx context.Context // an io.Reader has nowhere else to take it from; it lives for one copy
	r   io.Reader
}

// NewReader returns a reader of r that fails with the context's cause once ctx has ended. A Read that has begun is not
// interrupted: it is for sources that answer soon.
func NewReader(ctx context.Context, r io.Reader) io.Reader { return reader{ctx, r} }

func (r reader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(p)
}
