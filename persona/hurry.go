package persona

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	// stallTimeout is how long a body may bring nothing before its connection counts as broken, and slowBytes what it has to
	// bring in that time on average.
	stallTimeout = 30 * time.Second
	slowBytes    = 64 << 10
	// documentTimeout is how long a body may take that is not a blob.
	documentTimeout = 2 * time.Minute
	// greetingBytes is what is read of the answer that says how to sign in, which nobody needs.
	greetingBytes = 64 << 10
)

var (
	errStalled = fmt.Errorf("nothing came for %v", stallTimeout)
	errSlow    = fmt.Errorf("less than %d bytes came in %v", slowBytes, stallTimeout)
	errTooLate = fmt.Errorf("it did not come within %v", documentTimeout)
)

// hurry gives up answers that come too slowly, so that no registry can keep a pull, and its place among others, for ever.
type hurry struct{ next http.RoundTripper }

// RoundTrip returns an answer whose body fails once it is too slow.
func (h hurry) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	resp, err := h.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		cancel(nil)
		return nil, err
	}
	b := &hurriedBody{body: resp.Body, ctx: ctx, cancel: cancel, began: time.Now()}
	path := first(req).URL.Path
	if !strings.Contains(path, "/blobs/") {
		b.end = time.AfterFunc(documentTimeout, func() { cancel(errTooLate) })
	}
	resp.Body = b
	if path == apiPath+"/" {
		resp.Body = limitedBody{io.LimitReader(b, greetingBytes), b}
	}
	return resp, nil
}

// first is the request that req follows after redirects.
func first(req *http.Request) *http.Request {
	for req.Response != nil && req.Response.Request != nil {
		req = req.Response.Request
	}
	return req
}

type limitedBody struct {
	io.Reader
	io.Closer
}

// hurriedBody is a body that has to bring something all the time, and enough.
type hurriedBody struct {
	body   io.ReadCloser
	ctx    context.Context // of the request: it ends the reading
	cancel context.CancelCauseFunc
	end    *time.Timer // nil: it may take as long as it brings something

	began time.Time // of the present stretch of stallTimeout
	bytes int       // that came in it
}

// Read fails with why the body was given up.
func (b *hurriedBody) Read(p []byte) (int, error) {
	stalled := time.AfterFunc(stallTimeout, func() { b.cancel(errStalled) })
	n, err := b.body.Read(p)
	stalled.Stop()
	if b.bytes += n; err == nil && time.Since(b.began) >= stallTimeout {
		if b.bytes < slowBytes {
			return n, errSlow
		}
		b.began, b.bytes = time.Now(), 0
	}
	if cause := context.Cause(b.ctx); err != nil && !errors.Is(err, io.EOF) && cause != nil {
		return n, cause
	}
	return n, err
}

// Close ends the request.
func (b *hurriedBody) Close() error {
	if b.end != nil {
		b.end.Stop()
	}
	defer b.cancel(nil)
	return b.body.Close()
}
