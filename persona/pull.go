package persona

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Credentials say who pulls. Any pair or token that a Docker configuration file can hold will do.
type Credentials struct {
	Username, Password string
	// IdentityToken gets an access token; RegistryToken is one.
	IdentityToken, RegistryToken string
	// Holder names whose the credentials are, and is not a secret: what they bring is for their holder (Image.MayUse). Empty
	// means the whole machine.
	Holder string
}

// String hides what must not be seen.
func (c Credentials) String() string { return "credentials of " + c.Holder }

// GoString hides what must not be seen.
func (c Credentials) GoString() string { return c.String() }

// PullOptions are what Pull can do without.
type PullOptions struct {
	// Auth is tried in order until the registry gives the image. Where there is none the pull is anonymous.
	Auth []Credentials
	// Progress, if set, is called often and from one goroutine, and must return soon.
	Progress func(Progress)
}

// Pull brings an image from its registry, or from that one's mirror, and makes its disk. What is here already is not fetched
// again, apart from manifest and configuration, by those who have shown that they may have it. It returns once the disk can be
// used.
//
// It returns ErrInvalidName, ErrNotFound, ErrUnauthorized, ErrUnavailable, ErrPlatform, ErrDigestMismatch, ErrInvalidImage or
// ErrTooLarge, wrapped in a *PullError where the name is one, and keeps syscall.ENOSPC where the disk is full. After an error
// nothing is left behind.
func (s *Store) Pull(ctx context.Context, ref string, opts PullOptions) (Image, error) {
	named, err := parseName(ref)
	if err != nil {
		return Image{}, err
	}
	a, names, err := s.resolve(ctx, named, opts.Auth)
	if err != nil {
		return Image{}, &PullError{Ref: ref, Err: briefError{err}}
	}
	img, err := s.add(ctx, a, names, opts.progress())
	if err != nil {
		return Image{}, &PullError{Ref: ref, Err: briefError{kindOf(err)}}
	}
	return img, nil
}

func (c Credentials) authenticator() authn.Authenticator {
	return authn.FromConfig(authn.AuthConfig{
		Username: c.Username, Password: c.Password, IdentityToken: c.IdentityToken, RegistryToken: c.RegistryToken,
	})
}

func (o PullOptions) progress() func(Progress) {
	if o.Progress == nil {
		return func(Progress) {}
	}
	return o.Progress
}

// resolve finds the image that named means today, at the first endpoint that has it.
func (s *Store) resolve(ctx context.Context, named reference.Named, auth []Credentials) (*artifact, naming, error) {
	endpoints, err := s.hosts.endpoints(named, auth)
	if err != nil {
		return nil, naming{}, err
	}
	var errs []error
	away := map[string]bool{}
	for _, ep := range endpoints {
		if away[ep.repo.RegistryStr()] {
			continue // a registry that does not answer is not asked again with other credentials
		}
		a, digest, err := s.resolveAt(ctx, named, ep)
		if err == nil {
			names := namesOf(named, digest, a.digest)
			names.holder = ep.holder
			return a, names, nil
		}
		err = kindOf(err)
		away[ep.repo.RegistryStr()] = errors.Is(err, ErrUnavailable)
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, naming{}, errors.Join(errs...)
}

// namesOf returns the names of an image that was pulled as named: digest is what the name stands for, manifest the image's own.
func namesOf(named reference.Named, digest, manifest v1.Hash) naming {
	names := naming{digests: []string{digestName(named, digest.String()), digestName(named, manifest.String())}}
	if _, byDigest := named.(reference.Digested); !byDigest {
		names.tags = []string{reference.FamiliarString(named)}
	}
	return names
}

func (s *Store) resolveAt(ctx context.Context, named reference.Named, ep endpoint) (*artifact, v1.Hash, error) {
	from, err := connect(ctx, ep)
	if err != nil {
		return nil, v1.Hash{}, err
	}
	raw, err := from.named(ctx, named)
	if err != nil {
		return nil, v1.Hash{}, err
	}
	digest, _, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		return nil, v1.Hash{}, err
	}
	a, err := (&loader{from: from, platform: s.platform, limits: s.limits, remote: true}).load(ctx, raw)
	return a, digest, err
}

// kindOf makes the errors of registries and networks ours.
func kindOf(err error) error {
	if refused, ok := errors.AsType[*refusedError](err); ok {
		switch refused.status {
		case http.StatusNotFound:
			return fmt.Errorf("%w: %w", ErrNotFound, err)
		case http.StatusUnauthorized, http.StatusForbidden:
			return fmt.Errorf("%w: %w", ErrUnauthorized, err)
		case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
			http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		return err
	}
	if unreachable(err) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}

// unreachable reports whether the network failed, and not what came over it.
func unreachable(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, errPlainHTTP) {
		return false
	}
	if errors.Is(err, errStalled) || errors.Is(err, errSlow) || errors.Is(err, errTooLate) {
		return true
	}
	if network, ok := errors.AsType[net.Error](err); ok && network.Timeout() {
		return true
	}
	_, ok := errors.AsType[*net.OpError](err)
	return ok
}
