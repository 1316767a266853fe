package credentialprovider

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/distribution/reference"
	"golang.org/x/sync/singleflight"
	kubeletconfigv1 "k8s.io/kubelet/config/v1"
	credentialproviderv1 "k8s.io/kubelet/pkg/apis/credentialprovider/v1"

	"github.com/virtual-kubelet/vic/persona"
	"github.com/virtual-kubelet/vic/persona/keyring"
)

// Providers are the programs of a configuration. It is safe for concurrent use.
type Providers struct{ all []*provider }

const (
	// maxRunning is how many processes of one program run at a time, for as many repositories.
	maxRunning = 4
	// maxKept is how many answers of one program are kept: pods choose the repositories that it is asked for.
	maxKept = 256
)

// provider is one program, and what it has said that still counts.
type provider struct {
	config  *kubeletconfigv1.CredentialProvider
	program string
	running singleflight.Group
	turns   chan struct{} // a token for each process

	mu   sync.Mutex      // guards kept
	kept map[string]kept // by image, registry or everything
}

type kept struct {
	auth  map[string]credentialproviderv1.AuthConfig
	until time.Time
}

// everything is the key of what counts for all images of a provider.
const everything = "*"

// Lookup returns the credentials for an image of all programs that are for it, in the configuration's order, those of the
// best match first. With an error it returns what the other programs have said.
func (p *Providers) Lookup(ctx context.Context, image string) ([]persona.Credentials, error) {
	named, err := reference.ParseDockerRef(image)
	if err != nil {
		return nil, fmt.Errorf("%w %q: %w", persona.ErrInvalidName, image, err)
	}
	var ring keyring.Keyring
	var failed error
	for _, one := range p.all {
		if !one.isFor(image) {
			continue
		}
		auth, err := one.credentials(ctx, named.Name())
		if err == nil {
			err = addTo(&ring, auth)
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("credential provider %s, image %s: %w", one.config.Name, named.Name(), err))
		}
	}
	return ring.Lookup(image), failed
}

func addTo(ring *keyring.Keyring, auth map[string]credentialproviderv1.AuthConfig) error {
	all := make(map[string]persona.Credentials, len(auth))
	for key, c := range auth {
		all[key] = persona.Credentials{Username: c.Username, Password: c.Password}
	}
	return ring.AddEach(all)
}

func (p *provider) isFor(image string) bool {
	return slices.ContainsFunc(p.config.MatchImages, func(key string) bool {
		ok, err := keyring.Matches(key, image)
		return ok && err == nil
	})
}

// credentials returns what the program says of a repository, or what it said while that counts.
func (p *provider) credentials(ctx context.Context, repository string) (map[string]credentialproviderv1.AuthConfig, error) {
	if auth, ok := p.remembered(repository); ok {
		return auth, nil
	}
	// Ends with the program, which has programTimeout. It is shared, so no caller's end is its end.
	answer := p.running.DoChan(repository, func() (any, error) { return p.ask(context.WithoutCancel(ctx), repository) })
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case a := <-answer:
		auth, _ := a.Val.(map[string]credentialproviderv1.AuthConfig)
		return auth, a.Err
	}
}

// ask runs the program, and keeps what it says.
func (p *provider) ask(ctx context.Context, repository string) (map[string]credentialproviderv1.AuthConfig, error) {
	p.turns <- struct{}{} // comes: each process has programTimeout
	defer func() { <-p.turns }()
	response, err := run(ctx, p.program, p.config, repository)
	if err != nil {
		return nil, err
	}
	key := ""
	switch response.CacheKeyType {
	case credentialproviderv1.ImagePluginCacheKeyType:
		key = repository
	case credentialproviderv1.RegistryPluginCacheKeyType:
		key = registryOf(repository)
	case credentialproviderv1.GlobalPluginCacheKeyType:
		key = everything
	default:
		return nil, fmt.Errorf("cacheKeyType of its response is %q", shown(string(response.CacheKeyType)))
	}
	lasts := p.config.DefaultCacheDuration.Duration
	if response.CacheDuration != nil {
		lasts = response.CacheDuration.Duration
	}
	p.keep(key, kept{response.Auth, time.Now().Add(lasts)})
	return response.Auth, nil
}

// keep remembers k until its time is over, and forgets what has had its, and what comes to its end first where there is too much.
func (p *provider) keep(key string, k kept) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.kept[key] = k
	maps.DeleteFunc(p.kept, func(_ string, k kept) bool { return !now.Before(k.until) })
	for len(p.kept) > maxKept {
		first := slices.MinFunc(slices.Collect(maps.Keys(p.kept)), func(a, b string) int { return p.kept[a].until.Compare(p.kept[b].until) })
		delete(p.kept, first)
	}
}

func (p *provider) remembered(repository string) (map[string]credentialproviderv1.AuthConfig, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, key := range []string{repository, registryOf(repository), everything} {
		if k, ok := p.kept[key]; ok && time.Now().Before(k.until) {
			return k.auth, true
		}
	}
	return nil, false
}

// registryOf is the host of a full name, with its port.
func registryOf(repository string) string {
	host, _, _ := strings.Cut(repository, "/")
	return host
}
