package persona

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// headerTimeout is how long a registry may think before it answers; the bodies take as long as they take.
const headerTimeout = 30 * time.Second

var errPlainHTTP = errors.New("plain HTTP is allowed for loopback and insecure registries only")

// registryHosts knows how each registry may be spoken to.
type registryHosts struct {
	insecure []string
	mirrors  map[string]*url.URL
	strict   http.RoundTripper
	lax      http.RoundTripper
}

// endpoint is one place to pull a repository from.
type endpoint struct {
	repo      name.Repository
	transport http.RoundTripper
	auth      authn.Authenticator
}

func newRegistryHosts(cfg Config) (*registryHosts, error) {
	h := &registryHosts{insecure: cfg.InsecureRegistries, mirrors: map[string]*url.URL{}}
	for host, raw := range cfg.Mirrors {
		u, err := url.Parse(raw)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.User != nil {
			return nil, fmt.Errorf("mirror of %s: %q is no http or https URL of a registry", host, raw)
		}
		h.mirrors[host] = u
		if u.Scheme == "http" {
			// Whoever writes http:// means it.
			h.insecure = append(slices.Clone(h.insecure), u.Host)
		}
	}
	strict := http.DefaultTransport.(*http.Transport).Clone()
	strict.ResponseHeaderTimeout = headerTimeout
	// A layer is wanted as it is stored, also where a server believes that its compression is the connection's.
	strict.DisableCompression = true
	lax := strict.Clone()
	lax.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // the user listed the host as insecure
	h.strict, h.lax = plainHTTPGuard{strict, h.plainAllowed}, plainHTTPGuard{lax, h.plainAllowed}
	return h, nil
}

// endpoints returns where to look for named, in order: its registry's mirror, its registry.
func (h *registryHosts) endpoints(named reference.Named, auth authn.Authenticator) ([]endpoint, error) {
	var all []endpoint
	domain, path := reference.Domain(named), reference.Path(named)
	if u := h.mirrors[domain]; u != nil {
		prefix := strings.Trim(u.Path, "/")
		// The user's credentials are for the registry, not for its mirror.
		ep, err := h.endpoint(u.Host, strings.TrimPrefix(prefix+"/"+path, "/"), authn.Anonymous)
		if err != nil {
			return nil, err
		}
		all = append(all, ep)
	}
	ep, err := h.endpoint(domain, path, auth)
	if err != nil {
		return nil, err
	}
	return append(all, ep), nil
}

func (h *registryHosts) endpoint(host, path string, auth authn.Authenticator) (endpoint, error) {
	ep := endpoint{transport: h.strict, auth: auth}
	var opts []name.Option
	if h.isInsecure(host) {
		ep.transport = h.lax
		opts = append(opts, name.Insecure)
	}
	registry, err := name.NewRegistry(host, opts...)
	if err != nil {
		return endpoint{}, fmt.Errorf("%w: registry %q: %w", ErrInvalidName, host, err)
	}
	ep.repo = registry.Repo(path)
	return ep, nil
}

// isInsecure reports whether the user listed host, with or without its port.
func (h *registryHosts) isInsecure(host string) bool {
	bare := (&url.URL{Host: host}).Hostname()
	return slices.Contains(h.insecure, host) || slices.Contains(h.insecure, bare)
}

func (h *registryHosts) plainAllowed(host string) bool { return isLoopback(host) || h.isInsecure(host) }

func isLoopback(host string) bool {
	bare := (&url.URL{Host: host}).Hostname()
	return bare == "localhost" || net.ParseIP(bare).IsLoopback()
}

// plainHTTPGuard refuses what the registry library would allow: plain HTTP to every private address, and to wherever a
// registry redirects.
type plainHTTPGuard struct {
	next    http.RoundTripper
	allowed func(host string) bool
}

func (g plainHTTPGuard) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme == "http" && !g.allowed(req.URL.Host) {
		return nil, fmt.Errorf("%s: %w", req.URL.Host, errPlainHTTP)
	}
	return g.next.RoundTrip(req)
}
