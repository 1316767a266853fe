package persona

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// drip is a body that brings a piece at every interval until its request ends; with an interval of zero it brings nothing.
type drip struct {
	ctx      context.Context
	interval time.Duration
	piece    int
	left     int
}

func (d *drip) Read(p []byte) (int, error) {
	if d.interval == 0 {
		<-d.ctx.Done()
		return 0, d.ctx.Err()
	}
	select {
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	case <-time.After(d.interval):
	}
	if d.left--; d.left < 0 {
		return 0, io.EOF
	}
	return min(len(p), d.piece), nil
}

func (*drip) Close() error { return nil }

type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestAnAnswerThatComesTooSlowlyIsGivenUp(t *testing.T) {
	const endless = 1 << 40
	tests := map[string]struct {
		path  string
		body  drip
		want  error
		after time.Duration
	}{
		"a blob of which nothing comes":       {"/v2/a/blobs/sha256:0", drip{}, errStalled, stallTimeout},
		"a blob of which too little comes":    {"/v2/a/blobs/sha256:0", drip{interval: 10 * time.Second, piece: 20 << 10, left: endless}, errSlow, stallTimeout},
		"a blob of which enough comes":        {"/v2/a/blobs/sha256:0", drip{interval: 10 * time.Second, piece: 30 << 10, left: 1000}, nil, 10_010 * time.Second},
		"a manifest that takes long":          {"/v2/a/manifests/1", drip{interval: time.Second, piece: 30 << 10, left: endless}, errTooLate, documentTimeout},
		"a token that takes long":             {"/token", drip{interval: time.Second, piece: 30 << 10, left: endless}, errTooLate, documentTimeout},
		"a manifest that comes":               {"/v2/a/manifests/1", drip{interval: time.Second, piece: 30 << 10, left: 3}, nil, 4 * time.Second},
		"an endless greeting is not read on":  {"/v2/", drip{interval: time.Second, piece: 32 << 10, left: endless}, nil, 2 * time.Second},
		"a redirected greeting is not either": {"/v2/", drip{interval: time.Second, piece: 64 << 10, left: endless}, nil, 2 * time.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				next := transportFunc(func(r *http.Request) (*http.Response, error) {
					if strings.Contains(name, "redirected") && r.Response == nil {
						return &http.Response{StatusCode: http.StatusFound, Header: http.Header{"Location": {"/elsewhere"}}, Body: http.NoBody, Request: r}, nil
					}
					body := tt.body
					body.ctx = r.Context()
					return &http.Response{StatusCode: http.StatusOK, Body: &body, Request: r}, nil
				})
				client := http.Client{Transport: hurry{next}}
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://r.example"+tt.path, http.NoBody)
				require.NoError(t, err)
				began := time.Now()
				resp, err := client.Do(req)
				require.NoError(t, err)
				_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, resp.Body, make([]byte, 64<<10))
				require.ErrorIs(t, err, tt.want)
				require.LessOrEqual(t, time.Since(began), tt.after+10*time.Second)
				require.NoError(t, resp.Body.Close())
			})
		})
	}
}
