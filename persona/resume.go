package persona

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/wait"
)

const (
	// maxBreaks is how often in a row a blob may break without having brought breakProgress: 13 s in all.
	maxBreaks     = 6
	breakProgress = 1 << 20
	// breakFirst is the wait after the first break; it doubles.
	breakFirst = 200 * time.Millisecond
)

// openAt opens a blob at an offset.
type openAt func(ctx context.Context, offset int64) (io.ReadCloser, error)

// resuming reads a blob to its size, over as many connections as that takes. What comes is checked elsewhere.
type resuming struct {
	ctx  context.Context // of the call that opened the blob: an io.Reader has no other way to it
	open openAt
	size int64

	body   io.ReadCloser // nil between two connections
	offset int64
	began  int64 // offset at which the connection began
	breaks int
	since  int64 // offset at the first break of the row
}

// openResuming opens the blob at its start; the caller closes it.
func openResuming(ctx context.Context, size int64, open openAt) (io.ReadCloser, error) {
	r := &resuming{ctx: ctx, open: open, size: size}
	if err := r.connect(); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *resuming) connect() error {
	body, err := r.open(r.ctx, r.offset)
	if err != nil {
		return err
	}
	r.body, r.began = body, r.offset
	return nil
}

// Read returns what comes, and io.EOF where the blob ends, too early or not.
func (r *resuming) Read(p []byte) (int, error) {
	for {
		n, err := r.read(p)
		r.offset += int64(n)
		if n > 0 || err == nil {
			return n, nil
		}
		if errors.Is(err, io.EOF) && r.offset >= r.size {
			return 0, io.EOF
		}
		if err := r.mend(err); err != nil {
			return 0, err
		}
	}
}

// read is one read of the connection that there is.
func (r *resuming) read(p []byte) (int, error) {
	if r.body == nil {
		if err := r.connect(); err != nil {
			return 0, err
		}
	}
	return r.body.Read(p)
}

// mend drops a broken connection and waits before the next. It returns an error if there must not be another.
func (r *resuming) mend(broken error) error {
	ended := r.body != nil && errors.Is(broken, io.EOF) && r.offset == r.began
	r.drop()
	if r.offset-r.since >= breakProgress {
		r.breaks, r.since = 0, r.offset
	}
	switch r.breaks++; {
	case r.ctx.Err() != nil:
		return context.Cause(r.ctx)
	case ended:
		return io.EOF // there is no more of it
	case r.breaks > maxBreaks, final(broken):
		return fmt.Errorf("broke off after %d of %d bytes: %w", r.offset, r.size, unexpected(broken))
	}
	logging.From(r.ctx).DebugContext(r.ctx, "blob broke off", "offset", r.offset, "size", r.size, "err", broken)
	return wait.For(r.ctx, breakFirst<<(r.breaks-1))
}

// final reports whether the registry has refused, and would again.
func final(err error) bool {
	refused, ok := errors.AsType[*refusedError](err)
	return ok && !busy(refused.status)
}

// unexpected is err, or what an end is that comes too early.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (r *resuming) drop() {
	if r.body == nil {
		return
	}
	_ = r.body.Close() // what was read of it is what counts
	r.body = nil
}

// Close ends it.
func (r *resuming) Close() error {
	r.drop()
	return nil
}
