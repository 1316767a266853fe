package operations

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"

	"github.com/virtual-kubelet/vic/persona"
	"github.com/virtual-kubelet/vic/portlayer"
)

// ImageStore is what Images needs of persona.
type ImageStore interface {
	Lookup(ref string) (persona.Image, error)
	Pull(ctx context.Context, ref string, opts persona.PullOptions) (persona.Image, error)
	Source(img persona.Image) persona.Source
}

// Images brings images to this machine as their pull policies say, each once however many pods ask, and tells what it
// does as a kubelet does. It is safe for concurrent use.
//
// An image that was imported has a name but perhaps no registry. So under policy Always the registry is asked, and when
// it does not answer soon, or answers with anything but the image, what was imported is used.
type Images struct {
	store  ImageStore
	pulls  *pulls
	events events
}

// NewImages returns an Images that pulls at most parallel images at one time.
func NewImages(store ImageStore, parallel int, recorder record.EventRecorder) *Images {
	return &Images{store: store, pulls: newPulls(store, parallel), events: events{recorder}}
}

// Wait returns when no pull goes on: one that was called off undoes what it has begun. Nobody may call Ensure any more.
func (i *Images) Wait() { i.pulls.wait() }

// Source returns the disk of img.
func (i *Images) Source(img persona.Image) portlayer.DiskSource {
	return portlayer.DiskSource(i.store.Source(img))
}

// Local returns the image that c starts from where it needs not be pulled.
func (i *Images) Local(c *corev1.Container) (persona.Image, bool) {
	if pullPolicy(c) == corev1.PullAlways {
		return persona.Image{}, false
	}
	img, err := i.store.Lookup(c.Image)
	return img, err == nil
}

// Ensure returns the image of c, and pulls it first where the policy says so. One try; errors are *ImageError, or ctx's.
func (i *Images) Ensure(ctx context.Context, pod *corev1.Pod, c *corev1.Container) (persona.Image, error) {
	local, err := i.store.Lookup(c.Image)
	present := err == nil
	switch {
	case errors.Is(err, persona.ErrInvalidName):
		i.events.ofContainer(pod, c.Name, warning(eventInspectFailed, "Failed to apply default image tag %q: %v", c.Image, err))
		return persona.Image{}, i.failed(pod, c, reasonInvalidImageName, err)
	case err != nil && !errors.Is(err, persona.ErrNotFound):
		i.events.ofContainer(pod, c.Name, warning(eventInspectFailed, "Failed to inspect image %q: %v", c.Image, err))
		return persona.Image{}, i.failed(pod, c, reasonImageInspectError, err)
	}
	switch policy := pullPolicy(c); {
	case present && policy != corev1.PullAlways:
		i.events.ofContainer(pod, c.Name, normal(eventPulled, "Container image %q already present on machine", c.Image))
		return local, nil
	case policy == corev1.PullNever:
		err := fmt.Errorf("Container image %q is not present with pull policy of Never", c.Image)
		i.events.ofContainer(pod, c.Name, warning(eventNeverPull, "%v", err))
		return persona.Image{}, i.failed(pod, c, reasonErrImageNeverPull, err)
	}
	return i.pull(ctx, pod, c, fallback(local, present, c.Image))
}

// pull asks the registry; imported is what stands in for it, nil for nothing.
func (i *Images) pull(ctx context.Context, pod *corev1.Pod, c *corev1.Container, imported *persona.Image) (persona.Image, error) {
	i.events.ofContainer(pod, c.Name, normal(eventPulling, "Pulling image %q", c.Image))
	began := time.Now()
	var patience time.Duration
	if imported != nil {
		patience = importedTry
	}
	done, err := i.pulls.do(ctx, c.Image, patience)
	switch {
	case err == nil:
		i.events.ofContainer(pod, c.Name, normal(eventPulled,
			"Successfully pulled image %q in %v (%v including waiting). Image size: %d bytes.",
			c.Image, done.took.Round(time.Millisecond), time.Since(began).Round(time.Millisecond), done.image.SizeBytes))
		return done.image, nil
	case ctx.Err() != nil:
		return persona.Image{}, ctx.Err()
	case imported != nil:
		i.events.ofContainer(pod, c.Name, normal(eventPulled,
			"Container image %q was imported on this machine and is used as it is: its registry did not provide it: %v", c.Image, err))
		return *imported, nil
	}
	i.events.ofContainer(pod, c.Name, warning(eventFailed, "Failed to pull image %q: %v", c.Image, err))
	return persona.Image{}, i.failed(pod, c, reasonErrImagePull, err)
}

func (i *Images) failed(pod *corev1.Pod, c *corev1.Container, reason string, err error) error {
	i.events.ofContainer(pod, c.Name, warning(eventFailed, "Error: %s", reason))
	return &ImageError{Reason: reason, Err: err}
}

// pullPolicy is the policy of c; the API server sets it, and what it would set is taken where it did not.
func pullPolicy(c *corev1.Container) corev1.PullPolicy {
	if c.ImagePullPolicy != "" {
		return c.ImagePullPolicy
	}
	name, err := persona.NormalizeName(c.Image)
	if err == nil && strings.HasSuffix(name, ":latest") {
		return corev1.PullAlways
	}
	return corev1.PullIfNotPresent
}

// fallback returns local where it was imported: no registry has provided an image of that repository.
func fallback(local persona.Image, present bool, name string) *persona.Image {
	if !present {
		return nil
	}
	repo := repository(name)
	for _, pulled := range local.RepoDigests {
		if repository(pulled) == repo {
			return nil
		}
	}
	return &local
}

// repository is the full name without tag and digest.
func repository(name string) string {
	full, err := persona.NormalizeName(name)
	if err != nil {
		return ""
	}
	full, _, _ = strings.Cut(full, "@")
	if i := strings.LastIndexByte(full, ':'); i > strings.LastIndexByte(full, '/') {
		full = full[:i]
	}
	return full
}

// imageID is how a container's status names its image: by a digest that can be pulled, where there is one.
func imageID(img persona.Image) string {
	if len(img.RepoDigests) > 0 {
		return img.RepoDigests[0]
	}
	return img.ID
}
