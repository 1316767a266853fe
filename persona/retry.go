package persona

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/virtual-kubelet/vic/internal/wait"
)

const (
	// retryTries is how often a request is made in all while the registry says that it can't serve now.
	retryTries = 5
	// retryFirst is the wait before the second try where the registry names none; it doubles from try to try.
	retryFirst = 500 * time.Millisecond
	// retryLongest is the longest wait that a registry may ask for here. A pull that should wait for longer fails, and its
	// caller repeats it later.
	retryLongest = 30 * time.Second
)

// patient repeats requests that a registry or a token server can't serve now (RFC 9110, 503, and RFC 6585, 429), as soon as
// the answer says and no sooner.
type patient struct{ next http.RoundTripper }

// RoundTrip returns the answer, which may still be 429 or 503 after some tries.
func (p patient) RoundTrip(req *http.Request) (*http.Response, error) {
	next := retryFirst
	for try := 1; ; try++ {
		resp, err := p.next.RoundTrip(req)
		if err != nil || !busy(resp.StatusCode) || try == retryTries {
			return resp, err
		}
		asked, named := retryAfter(resp.Header.Get("Retry-After"), time.Now())
		if named && asked > retryLongest {
			return nil, tooLate(resp, asked)
		}
		if !named {
			asked, next = next, 2*next
		}
		if req, err = again(req); err != nil {
			return resp, nil //nolint:nilerr // it can't be sent twice, so this answer is the last
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, MostDocumentBytes)) // only so that the connection can be used again
		_ = resp.Body.Close()                                                    // nothing in it is wanted
		if err := wait.For(req.Context(), asked); err != nil {
			return nil, err
		}
	}
}

// busy reports whether the same request may be answered later.
func busy(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout,
		http.StatusInternalServerError, http.StatusRequestTimeout:
		return true
	}
	return false
}

// retryAfter reads the header of that name: seconds or a date (RFC 9110, 10.2.3).
func retryAfter(header string, now time.Time) (time.Duration, bool) {
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second, true
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(0, at.Sub(now)), true
	}
	return 0, false
}

// tooLate is the error of an answer that asks for a long wait. What else it says is often the reason.
func tooLate(resp *http.Response, asked time.Duration) error {
	err := told(transport.CheckError(resp))
	return errors.Join(fmt.Errorf("%w for another %v: %w", ErrUnavailable, asked, err), resp.Body.Close())
}

// again returns req to be sent once more.
func again(req *http.Request) (*http.Request, error) {
	if req.Body == nil || req.Body == http.NoBody {
		return req, nil
	}
	if req.GetBody == nil {
		return nil, errors.New("request has no second body")
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, err
	}
	req = req.Clone(req.Context())
	req.Body = body
	return req, nil
}
