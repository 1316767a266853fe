package persona

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// acceptManifests is what Pull can read, as an Accept header.
var acceptManifests = strings.Join([]string{
	string(types.OCIManifestSchema1), string(types.OCIImageIndex), string(types.DockerManifestSchema2), string(types.DockerManifestList),
}, ", ")

// registryBlobs reads from one repository (OCI distribution specification, "Pull").
type registryBlobs struct {
	client *http.Client
	repo   name.Repository
}

// connect finds out how the registry wants to be spoken to, and signs in.
func connect(ctx context.Context, ep endpoint) (*registryBlobs, error) {
	base := transport.NewUserAgent(patient{hurry{transport.NewRetry(ep.transport)}}, "vic")
	scopes := []string{ep.repo.Scope(transport.PullScope)}
	signedIn, err := transport.NewWithContext(ctx, ep.repo.Registry, ep.auth, base, scopes)
	if err != nil {
		return nil, told(err)
	}
	return &registryBlobs{client: &http.Client{Transport: signedIn}, repo: ep.repo}, nil
}

// named returns the manifest or index that a name stands for. A tag promises nothing about it; a digest is checked.
func (r *registryBlobs) named(ctx context.Context, named reference.Named) ([]byte, error) {
	switch n := named.(type) {
	case reference.Digested:
		want, err := v1.NewHash(n.Digest().String())
		if err != nil {
			return nil, fmt.Errorf("%w %q: %w", ErrInvalidName, named, err)
		}
		raw, err := r.document(ctx, want.String())
		if err != nil {
			return nil, err
		}
		return checkedBytes("manifest", raw, want)
	case reference.Tagged:
		return r.document(ctx, n.Tag())
	}
	return nil, fmt.Errorf("%w %q: neither tag nor digest", ErrInvalidName, named)
}

func (r *registryBlobs) document(ctx context.Context, id string) (_ []byte, err error) {
	body, err := r.manifestOf(ctx, id)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	return readDocument("manifest", body)
}

func (r *registryBlobs) manifest(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	return r.manifestOf(ctx, d.Digest.String())
}

// manifestOf opens the manifest or index of a tag or digest.
func (r *registryBlobs) manifestOf(ctx context.Context, id string) (io.ReadCloser, error) {
	resp, err := r.get(ctx, "manifests", id, http.Header{"Accept": {acceptManifests}})
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// blob opens a configuration or a layer. A connection that breaks is made again, and goes on where it broke.
func (r *registryBlobs) blob(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	return openResuming(ctx, d.Size, func(ctx context.Context, offset int64) (io.ReadCloser, error) {
		return r.blobFrom(ctx, d, offset)
	})
}

// blobFrom opens a blob at an offset, also where the registry has no ranges (RFC 9110, 14.2).
func (r *registryBlobs) blobFrom(ctx context.Context, d v1.Descriptor, offset int64) (io.ReadCloser, error) {
	header := http.Header{}
	if offset > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-%d", offset, d.Size-1))
	}
	resp, err := r.get(ctx, "blobs", d.Digest.String(), header)
	if err != nil {
		return nil, err
	}
	switch {
	case resp.StatusCode == http.StatusOK:
		_, err = io.CopyN(io.Discard, resp.Body, offset)
	case !strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", offset)):
		err = fmt.Errorf("asked for bytes from %d on, the answer is %q", offset, resp.Header.Get("Content-Range"))
	}
	if err != nil {
		return nil, errors.Join(err, resp.Body.Close())
	}
	return resp.Body, nil
}

// get asks for a manifest or a blob. The transport below puts in the scheme that connect found.
func (r *registryBlobs) get(ctx context.Context, kind, id string, header http.Header) (*http.Response, error) {
	u := url.URL{
		Scheme: r.repo.Scheme(), Host: r.repo.RegistryStr(),
		Path: "/v2/" + r.repo.RepositoryStr() + "/" + kind + "/" + id,
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header = header
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, told(err)
	}
	want := []int{http.StatusOK}
	if header.Get("Range") != "" {
		want = append(want, http.StatusPartialContent)
	}
	if err := transport.CheckError(resp, want...); err != nil {
		return nil, errors.Join(told(err), resp.Body.Close())
	}
	return resp, nil
}
