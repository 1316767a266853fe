package persona

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// hostConfig says how one host is spoken to.
type hostConfig struct {
	url *url.URL
	// base is the path of the registry's API on the host, /v2 as a rule.
	base string
	// pull and resolve say what the host is for: blobs and manifests by digest, and tags.
	pull, resolve bool
	skipVerify    bool
	cas           []string   // files of certificates to trust beside the system's
	clients       [][]string // files with certificate and key of ours
	headers       http.Header
	dialTimeout   time.Duration
	// namespace is the registry that the host stands in for, and part of each request; empty for the registry itself.
	namespace string
}

// serves reports whether an image can come from the host.
func (c hostConfig) serves(byDigest bool) bool { return c.pull && (byDigest || c.resolve) }

// configuredHosts is what the folder of a registry says.
type configuredHosts struct {
	mirrors []hostConfig
	server  *hostConfig // nil: nothing is said of the registry itself
}

// check reads the configuration of all registries, so that a mistake is found at the start.
func (h *registryHosts) check() error {
	if h.dir == "" {
		return nil
	}
	entries, err := os.ReadDir(h.dir)
	if err != nil {
		return fmt.Errorf("configuration of registries: %w", err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if _, err := readHosts(filepath.Join(h.dir, e.Name()), "registry.invalid"); err != nil {
			return err
		}
	}
	return nil
}

// configured reads what there is for a registry now: a change counts from the next pull on.
func (h *registryHosts) configured(domain string) (configuredHosts, error) {
	if h.dir == "" {
		return configuredHosts{}, nil
	}
	for _, folder := range hostFolders(domain) {
		dir := filepath.Join(h.dir, folder)
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return configuredHosts{}, fmt.Errorf("configuration of registry %s: %w", domain, err)
		}
		return readHosts(dir, domain)
	}
	return configuredHosts{}, nil
}

// hostFolders are the names that the folder of a registry may have, as containerd reads them. Some file systems and tools
// don't take a colon, so a port may stand between underlines.
func hostFolders(domain string) []string {
	all := []string{domain, "_default"}
	if host, port, ok := strings.Cut(domain, ":"); ok && !strings.Contains(port, ":") {
		all = append([]string{host + "_" + port + "_"}, all...)
	}
	return all
}

// readHosts reads a registry's folder: hosts.toml, or else certificates by their names as Docker has them.
func readHosts(dir, domain string) (configuredHosts, error) {
	text, err := os.ReadFile(filepath.Join(dir, "hosts.toml"))
	if errors.Is(err, fs.ErrNotExist) {
		return readCertificates(dir, domain)
	}
	if err == nil {
		var hosts configuredHosts
		if hosts, err = parseHosts(string(text), dir, domain); err == nil {
			return hosts, nil
		}
	}
	return configuredHosts{}, fmt.Errorf("configuration of registries: %s: %w", filepath.Join(dir, "hosts.toml"), err)
}

// readCertificates takes NAME.crt to be trusted, and NAME.cert with NAME.key to be shown.
func readCertificates(dir, domain string) (configuredHosts, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return configuredHosts{}, fmt.Errorf("configuration of registries: %w", err)
	}
	server := defaultServer(domain)
	for _, e := range entries {
		file := filepath.Join(dir, e.Name())
		switch filepath.Ext(e.Name()) {
		case ".crt":
			server.cas = append(server.cas, file)
		case ".cert":
			server.clients = append(server.clients, []string{file, strings.TrimSuffix(file, ".cert") + ".key"})
		}
	}
	if _, err := tlsConfig(server); err != nil {
		return configuredHosts{}, fmt.Errorf("configuration of registries: %w", err)
	}
	return configuredHosts{server: &server}, nil
}

// defaultServer is a registry of which only the name is known.
func defaultServer(domain string) hostConfig {
	return hostConfig{url: &url.URL{Scheme: "https", Host: domain}, base: apiPath, pull: true, resolve: true}
}

// apiPath is where a registry's API is on its host (OCI distribution specification, "Endpoints").
const apiPath = "/v2"

// hostEndpoint is path on a host of which a file says how to speak to it.
func (h *registryHosts) hostEndpoint(c hostConfig, path string) (endpoint, error) {
	base, err := h.transports.get(c)
	if err != nil {
		return endpoint{}, err
	}
	plain := c.url.Scheme == "http"
	guarded := plainHTTPGuard{base, func(host string) bool {
		if host == c.url.Host {
			return plain
		}
		return h.isInsecure(host)
	}}
	ep, err := newEndpoint(c.url.Host, path, guarded, plain)
	if err != nil {
		return endpoint{}, err
	}
	ep.transport = rewriter{
		next: ep.transport, host: ep.repo.RegistryStr(), base: c.base, headers: c.headers, namespace: c.namespace,
	}
	return ep, nil
}

// rewriter sends what is for one host to the path where its API is, with the headers that it wants.
type rewriter struct {
	next                  http.RoundTripper
	host, base, namespace string
	headers               http.Header
}

func (r rewriter) RoundTrip(req *http.Request) (*http.Response, error) {
	// Where a host has sent us (Response), it knows its own paths.
	if req.URL.Host != r.host || req.Response != nil {
		return r.next.RoundTrip(req)
	}
	req = req.Clone(req.Context())
	if rest, ok := strings.CutPrefix(req.URL.Path, apiPath+"/"); ok {
		req.URL.Path, req.URL.RawPath = r.base+"/"+rest, ""
		if r.namespace != "" {
			// Caches of several registries need it to know which is meant.
			req.URL.RawQuery = url.Values{"ns": {r.namespace}}.Encode()
		}
	}
	for key, values := range r.headers {
		if req.Header.Get(key) == "" {
			req.Header[key] = slices.Clone(values)
		}
	}
	return r.next.RoundTrip(req)
}
