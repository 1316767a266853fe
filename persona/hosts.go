package persona

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// headerTimeout is how long a registry may think before it answers; hurry has the times of bodies.
const headerTimeout = 30 * time.Second

var errPlainHTTP = errors.New("plain HTTP is allowed for insecure registries only")

// registryHosts knows how each registry may be spoken to.
type registryHosts struct {
	insecure []string
	mirrors  map[string]*url.URL
	// dir has a folder for each registry that needs more; empty is none.
	dir        string
	transports transports
}

// endpoint is one place to pull a repository from, and one way to sign in there.
type endpoint struct {
	repo      name.Repository
	transport http.RoundTripper
	auth      authn.Authenticator
	// holder is who has shown that they may have what comes from here; empty is everyone.
	holder string
}

func newRegistryHosts(cfg Config) (*registryHosts, error) {
	h := &registryHosts{insecure: cfg.InsecureRegistries, mirrors: map[string]*url.URL{}, dir: cfg.RegistryHostsDir}
	for host, raw := range cfg.Mirrors {
		u, err := url.Parse(raw)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.User != nil {
			return nil, fmt.Errorf("mirror of %s: %q is not an http or https URL of a registry", host, raw)
		}
		h.mirrors[host] = u
		if u.Scheme == "http" {
			// Whoever writes http:// means it.
			h.insecure = append(slices.Clone(h.insecure), u.Host)
		}
	}
	return h, h.check()
}

// endpoints returns where to look for named, in order: its registry's mirrors, its registry. Credentials are for the
// registry, not for its mirrors.
func (h *registryHosts) endpoints(named reference.Named, auth []Credentials) ([]endpoint, error) {
	domain, path := reference.Domain(named), reference.Path(named)
	_, byDigest := named.(reference.Digested)
	var all []endpoint
	if u := h.mirrors[domain]; u != nil {
		ep, err := h.endpoint(u.Host, strings.TrimPrefix(strings.Trim(u.Path, "/")+"/"+path, "/"))
		if err != nil {
			return nil, err
		}
		all = append(all, ep)
	}
	configured, err := h.configured(domain)
	if err != nil {
		return nil, err
	}
	for _, mirror := range configured.mirrors {
		if !mirror.serves(byDigest) {
			continue
		}
		ep, err := h.hostEndpoint(mirror, path)
		if err != nil {
			return nil, err
		}
		all = append(all, ep)
	}
	origin, err := h.origin(configured.server, domain, path)
	if err != nil {
		return nil, err
	}
	return append(all, origin.signedIn(auth)...), nil
}

// origin is the registry itself: server where something is configured for it, nil where not.
func (h *registryHosts) origin(server *hostConfig, domain, path string) (endpoint, error) {
	if server == nil {
		return h.endpoint(domain, path)
	}
	return h.hostEndpoint(*server, path)
}

// signedIn returns e once for each of the credentials, or as it is.
func (e endpoint) signedIn(auth []Credentials) []endpoint {
	if len(auth) == 0 {
		return []endpoint{e}
	}
	all := make([]endpoint, len(auth))
	for i, c := range auth {
		all[i] = e
		all[i].auth, all[i].holder = c.authenticator(), c.Holder
	}
	return all
}

// endpoint is a host of which only the name is known, and perhaps that it is insecure.
func (h *registryHosts) endpoint(host, path string) (endpoint, error) {
	insecure := h.isInsecure(host)
	base, err := h.transports.get(hostConfig{skipVerify: insecure})
	if err != nil {
		return endpoint{}, err
	}
	return newEndpoint(host, path, plainHTTPGuard{base, h.isInsecure}, insecure)
}

func newEndpoint(host, path string, base http.RoundTripper, insecure bool) (endpoint, error) {
	var opts []name.Option
	if insecure {
		opts = append(opts, name.Insecure)
	}
	registry, err := name.NewRegistry(host, opts...)
	if err != nil {
		return endpoint{}, fmt.Errorf("%w: registry %q: %w", ErrInvalidName, host, err)
	}
	return endpoint{repo: registry.Repo(path), transport: base, auth: authn.Anonymous}, nil
}

// isInsecure reports whether the user listed host, with or without its port.
func (h *registryHosts) isInsecure(host string) bool {
	bare := (&url.URL{Host: host}).Hostname()
	return slices.Contains(h.insecure, host) || slices.Contains(h.insecure, bare)
}

// plainHTTPGuard refuses what the registry library would allow: plain HTTP to loopback, where services of this machine listen that
// are not for pods, to every private address, and to wherever a registry redirects.
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
