package keyring

import (
	"errors"
	"net/url"
	"path"
	"strings"
)

// pattern is a key in parts.
type pattern struct {
	labels []string // of the host, each perhaps a glob
	port   string
	path   string
}

// parsePattern reads a key. What docker login appends to a host, /v1/ or /v2/, means the host alone.
func parsePattern(key string) (pattern, error) {
	rest := strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
	u, err := url.Parse("https://" + rest)
	if err != nil || u.Host == "" || u.User != nil {
		return pattern{}, errors.New("a key is not a host with port and path")
	}
	p := patternOf(u)
	if strings.HasPrefix(p.path, "/v1/") || strings.HasPrefix(p.path, "/v2/") {
		p.path = p.path[len("/v1"):]
	}
	if p.path == "/" {
		p.path = ""
	}
	return p, nil
}

func patternOf(u *url.URL) pattern {
	return pattern{labels: strings.Split(u.Hostname(), "."), port: u.Port(), path: u.Path}
}

// String is the key in one form.
func (p pattern) String() string {
	s := strings.Join(p.labels, ".")
	if p.port != "" {
		s += ":" + p.port
	}
	return s + p.path
}

// repositoryPattern is the full name of an image without tag and digest, in parts.
func repositoryPattern(repository string) (pattern, error) {
	u, err := url.Parse("https://" + repository)
	if err != nil {
		return pattern{}, err
	}
	return patternOf(u), nil
}

// matches follows the kubelet's rules (its credentialprovider documentation): the ports are equal, as many labels match
// one by one, and the path is a beginning of the repository's.
func (p pattern) matches(image pattern) bool {
	if p.port != image.port || len(p.labels) != len(image.labels) || !strings.HasPrefix(image.path, p.path) {
		return false
	}
	for i, label := range p.labels {
		if ok, err := path.Match(label, image.labels[i]); !ok || err != nil {
			return false
		}
	}
	return true
}
