package probe

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/version"
)

// The user agents that servers know the kubelet by.
const (
	AgentProbe = "kube-probe/" + version.KubernetesMinor
	AgentHook  = "kube-lifecycle/" + version.KubernetesMinor
)

const maxRedirects = 10

// transport asks anew each time, without a proxy, and takes any certificate: a pod's own is for nobody's name.
var transport = &http.Transport{
	TLSClientConfig:    &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // as the kubelet has it
	DialContext:        dialer.DialContext,
	DisableKeepAlives:  true,
	DisableCompression: true,
	ForceAttemptHTTP2:  true,
}

// plainHTTP2 is the same for HTTP/2 without TLS, which a server is not asked about.
var plainHTTP2 = &http.Transport{
	DialContext:        dialer.DialContext,
	DisableKeepAlives:  true,
	DisableCompression: true,
	Protocols:          unencryptedHTTP2(),
}

func unencryptedHTTP2() *http.Protocols {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return p
}

// Client returns a client for the action of a probe or hook, which leaves it to the caller to follow redirects to another
// host.
func Client(a wire.HTTPAction, timeout time.Duration) *http.Client {
	via := transport
	if a.HTTP2 {
		via = plainHTTP2
	}
	return &http.Client{Timeout: timeout, Transport: via, CheckRedirect: sameHost}
}

func sameHost(r *http.Request, via []*http.Request) error {
	switch {
	case r.URL.Hostname() != via[0].URL.Hostname():
		return http.ErrUseLastResponse
	case len(via) >= maxRedirects:
		return fmt.Errorf("stopped after %d redirects", maxRedirects)
	}
	return nil
}

// Request makes the request of an action. address is the pod's.
func Request(ctx context.Context, a wire.HTTPAction, address, agent string) (*http.Request, error) {
	u, err := url.Parse(a.Path)
	if err != nil {
		u = &url.URL{Path: a.Path} // whatever it is, the server may know it
	}
	u.Scheme, u.Host = a.Scheme, hostPort(a.Host, a.Port, Target{Address: address})
	if u.Scheme == "" {
		u.Scheme = "http"
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	for _, h := range a.Headers {
		r.Header.Add(h.Name, h.Value)
	}
	if _, ok := r.Header["User-Agent"]; !ok {
		r.Header.Set("User-Agent", agent)
	}
	if _, ok := r.Header["Accept"]; !ok {
		r.Header.Set("Accept", "*/*")
	} else if r.Header.Get("Accept") == "" {
		r.Header.Del("Accept")
	}
	r.Host = r.Header.Get("Host")
	return r, nil
}

func doHTTP(ctx context.Context, a wire.HTTPAction, timeout time.Duration, t Target) Outcome {
	r, err := Request(ctx, a, t.Address, AgentProbe)
	if err != nil {
		return Outcome{Result: Unknown, Err: err}
	}
	resp, err := Client(a, timeout).Do(r)
	if err != nil {
		return failure("%v", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxOutput))
	switch {
	case err != nil:
		return Outcome{Result: Failure, Err: err}
	case resp.StatusCode < http.StatusOK || resp.StatusCode >= http.StatusBadRequest:
		return failure("HTTP probe failed with statuscode: %d", resp.StatusCode)
	case resp.StatusCode >= http.StatusMultipleChoices:
		return Outcome{Result: Warning, Output: "Probe terminated redirects, Response body: " + string(body)}
	}
	return Outcome{Result: Success, Output: string(body)}
}
