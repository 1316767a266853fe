package guestlink

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// callTimeout bounds a call of a caller that set no bound itself. The slowest call formats a disk.
const callTimeout = 2 * time.Minute

// Configure applies what all containers share.
func (l *Link) Configure(ctx context.Context, pod wire.Pod) (wire.Ready, error) {
	answer := ready{Addresses: few[netip.Addr]{most: maxAddresses}}
	err := l.call(ctx, http.MethodPut, wire.PathPod, pod, &answer)
	return wire.Ready{Addresses: answer.Addresses.all}, err
}

// PutFiles replaces the content of a volume.
func (l *Link) PutFiles(ctx context.Context, files wire.Files) error {
	return l.call(ctx, http.MethodPut, wire.PathFiles, files, nil)
}

// Run runs a container.
func (l *Link) Run(ctx context.Context, c wire.Container) error {
	return l.call(ctx, http.MethodPut, containerPath(wire.PathContainer, c.Name), c, nil)
}

// Stop asks for the end of all containers.
func (l *Link) Stop(ctx context.Context, stop wire.Stop) error {
	return l.call(ctx, http.MethodPost, wire.PathStop, stop, nil)
}

// Stats asks what the pod uses now. The answer is cut down to what the VM's own specification allows.
func (l *Link) Stats(ctx context.Context) (wire.Stats, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	s, err := l.await(ctx)
	if err != nil {
		return wire.Stats{}, err
	}
	resp, err := s.request(ctx, http.MethodGet, wire.PathStats, nil)
	if err != nil {
		return wire.Stats{}, err
	}
	defer closeBody(resp.Body)
	stats, err := decodeStats(resp.Body)
	if err != nil {
		return wire.Stats{}, err
	}
	return checkStats(stats, l.config.Expect()), nil
}

// PowerOff asks the guest to sync and to power its VM off. A channel that breaks meanwhile is not an error: a quick guest
// takes its answer with it.
func (l *Link) PowerOff(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	s, err := l.await(ctx)
	if err != nil {
		return err
	}
	err = s.call(ctx, http.MethodPost, wire.PathPowerOff, nil, nil)
	if ctx.Err() == nil && s.mux.IsClosed() {
		return nil
	}
	return err
}

// call makes one call, and makes it again on the next session where its session broke under it.
func (l *Link) call(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for {
		s, err := l.await(ctx)
		if err != nil {
			return err
		}
		err = s.call(ctx, method, path, in, out)
		if err == nil || ctx.Err() != nil || !s.mux.IsClosed() || isStatus(err) {
			return err
		}
	}
}

func isStatus(err error) bool {
	var status *StatusError
	return errors.As(err, &status)
}

// call sends in as JSON and decodes the answer into out; either may be nil.
func (s *session) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode call: %w", err)
		}
		if len(b) > wire.MaxBodyBytes {
			return fmt.Errorf("call to %s has %d bytes, and a guest takes %d", path, len(b), wire.MaxBodyBytes)
		}
		body = bytes.NewReader(b)
	}
	resp, err := s.request(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer closeBody(resp.Body)
	if out == nil {
		return nil
	}
	return decode(resp.Body, maxAnswerBytes, out)
}

// request returns the answer of a call that the guest did not refuse; the caller closes its body.
func (s *session) request(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://guest"+path, body)
	if err != nil {
		return nil, fmt.Errorf("make call: %w", err)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return nil, unreachable(err)
	}
	if resp.StatusCode/100 != 2 {
		defer closeBody(resp.Body)
		return nil, statusError(resp)
	}
	return resp, nil
}

// statusError reads what the guest says about its refusal.
func statusError(resp *http.Response) error {
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBytes))
	if err != nil {
		return unreachable(err)
	}
	return &StatusError{Code: resp.StatusCode, Message: oneLine(string(b))}
}

func closeBody(b io.Closer) { _ = b.Close() } // the answer was read, or is given up

// containerPath fills a container's name into a path of package wire.
func containerPath(path, container string) string {
	return strings.Replace(path, "{container}", url.PathEscape(container), 1)
}
