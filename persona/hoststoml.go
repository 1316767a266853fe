package persona

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

// hostsFile is hosts.toml as containerd defines it (docs/hosts.md there).
type hostsFile struct {
	Server string `toml:"server"`
	hostFields
	Host map[string]hostFields `toml:"host"`
}

// hostFields are what can be said of the registry and of each host that stands in for it.
type hostFields struct {
	Capabilities []string       `toml:"capabilities"`
	CA           any            `toml:"ca"`
	Client       any            `toml:"client"`
	SkipVerify   bool           `toml:"skip_verify"`
	Header       map[string]any `toml:"header"`
	OverridePath bool           `toml:"override_path"`
	DialTimeout  string         `toml:"dial_timeout"`
}

// parseHosts reads the hosts.toml of domain, whose relative paths begin at dir.
func parseHosts(text, dir, domain string) (configuredHosts, error) {
	var f hostsFile
	meta, err := toml.Decode(text, &f)
	if err != nil {
		return configuredHosts{}, err
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return configuredHosts{}, fmt.Errorf("%s: unknown key", unknown[0])
	}
	var hosts configuredHosts
	for _, raw := range hostsInOrder(meta) {
		c, err := f.Host[raw].config(raw, dir)
		if err != nil {
			return configuredHosts{}, fmt.Errorf("host %q: %w", raw, err)
		}
		c.namespace = domain
		hosts.mirrors = append(hosts.mirrors, c)
	}
	server := f.Server
	if server == "" {
		server = domain
	}
	c, err := f.config(server, dir)
	if err != nil {
		return configuredHosts{}, fmt.Errorf("server %q: %w", server, err)
	}
	// The registry itself is always the last resort.
	c.pull, c.resolve = true, true
	hosts.server = &c
	return hosts, nil
}

// hostsInOrder are the keys of [host."…"] in the order in which a pull tries them.
func hostsInOrder(meta toml.MetaData) []string {
	var all []string
	for _, key := range meta.Keys() {
		if len(key) >= 2 && key[0] == "host" && !slices.Contains(all, key[1]) {
			all = append(all, key[1])
		}
	}
	return all
}

func (f hostFields) config(raw, dir string) (hostConfig, error) {
	u, err := hostURL(raw)
	if err != nil {
		return hostConfig{}, err
	}
	c := hostConfig{url: u, base: f.base(u), skipVerify: f.SkipVerify}
	if c.pull, c.resolve, err = f.capabilities(); err != nil {
		return hostConfig{}, err
	}
	if c.headers, err = f.headers(); err != nil {
		return hostConfig{}, err
	}
	if c.cas, err = stringsOf("ca", f.CA); err != nil {
		return hostConfig{}, err
	}
	for i, name := range c.cas {
		c.cas[i] = within(dir, name)
	}
	if c.clients, err = f.clients(dir); err != nil {
		return hostConfig{}, err
	}
	if f.DialTimeout != "" {
		if c.dialTimeout, err = time.ParseDuration(f.DialTimeout); err != nil || c.dialTimeout <= 0 {
			return hostConfig{}, fmt.Errorf("dial_timeout: %q is not a duration such as 5s", f.DialTimeout)
		}
	}
	_, err = tlsConfig(c)
	return c, err
}

// hostURL reads a host with or without its scheme.
func hostURL(raw string) (*url.URL, error) {
	full := raw
	if !strings.Contains(raw, "://") {
		full = "https://" + raw
	}
	u, err := url.Parse(full)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.User != nil {
		return nil, errors.New("not an http or https URL of a registry")
	}
	return u, nil
}

// base is where the API is: below the URL's path, or that path itself where override_path says so.
func (f hostFields) base(u *url.URL) string {
	path := strings.TrimRight(u.Path, "/")
	if f.OverridePath || strings.HasSuffix(path, apiPath) {
		return path
	}
	return path + apiPath
}

func (f hostFields) capabilities() (pull, resolve bool, _ error) {
	if len(f.Capabilities) == 0 {
		return true, true, nil
	}
	for _, c := range f.Capabilities {
		switch c {
		case "pull":
			pull = true
		case "resolve":
			resolve = true
		case "push", "dialer", "referrers":
		default:
			return false, false, fmt.Errorf("capabilities: %q is not one of pull, resolve, push", c)
		}
	}
	return pull, resolve, nil
}

func (f hostFields) headers() (http.Header, error) {
	all := http.Header{}
	for key, value := range f.Header {
		values, err := stringsOf("header "+key, value)
		if err != nil {
			return nil, err
		}
		for _, v := range values {
			all.Add(key, v)
		}
	}
	return all, nil
}

// clients reads a file with certificate and key, a list of such, or a list of pairs of files.
func (f hostFields) clients(dir string) ([][]string, error) {
	list, ok := f.Client.([]any)
	if !ok {
		list = []any{f.Client}
	}
	var all [][]string
	for _, one := range list {
		files, err := stringsOf("client", one)
		if err != nil {
			return nil, err
		}
		if len(files) == 0 {
			continue
		}
		if len(files) > 2 {
			return nil, errors.New("client: want a file, or a pair of certificate and key")
		}
		for i, name := range files {
			files[i] = within(dir, name)
		}
		all = append(all, files)
	}
	return all, nil
}

// stringsOf reads a string or a list of strings.
func stringsOf(what string, v any) ([]string, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		return []string{v}, nil
	case []any:
		var all []string
		for _, one := range v {
			s, ok := one.(string)
			if !ok {
				return nil, fmt.Errorf("%s: want strings, not %T", what, one)
			}
			all = append(all, s)
		}
		return all, nil
	}
	return nil, fmt.Errorf("%s: want a string or a list of strings, not %T", what, v)
}

// within is name, which begins at dir unless it is absolute.
func within(dir, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(dir, name)
}
