package operations

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"

	"github.com/virtual-kubelet/vic/operations/events"
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
//
// An image that credentials have brought is for those who have shown some: under any policy a pod starts from it only if
// one of its secrets has worked for it before, or works now.
type Images struct {
	store   ImageStore
	pulls   *pulls
	auth    pullAuth
	holds   *imageHolds
	events  events.Writer
	metrics *imageMetrics
	full    chan struct{} // one token: a pull found the disk full
}

// ImagesConfig is what Images works with.
type ImagesConfig struct {
	Store   ImageStore
	Secrets SecretSource
	// Node has credentials for everyone; nil is none.
	Node NodeCredentials
	// Parallel bounds the images that are pulled at one time; 0 is three.
	Parallel int
	Events   record.EventRecorder
	// Metrics shows requests and pulls; nil is nowhere.
	Metrics prometheus.Registerer
}

// NewImages returns an Images.
func NewImages(cfg ImagesConfig) *Images {
	if cfg.Parallel == 0 {
		cfg.Parallel = parallelPulls
	}
	ev, metrics := events.To(cfg.Events), newImageMetrics(cfg.Metrics)
	return &Images{
		store: cfg.Store, pulls: newPulls(cfg.Store, cfg.Parallel, metrics), holds: newImageHolds(), events: ev,
		auth: pullAuth{secrets: cfg.Secrets, node: cfg.Node, events: ev}, metrics: metrics,
		full: make(chan struct{}, 1),
	}
}

// Wait returns when no pull goes on: one that was called off undoes what it has begun. Nobody may call Ensure any more.
func (i *Images) Wait() { i.pulls.wait() }

// Source returns the disk of img.
func (i *Images) Source(img persona.Image) portlayer.DiskSource {
	return portlayer.DiskSource(i.store.Source(img))
}

// Local returns the image that c starts from where it needs neither be pulled nor asked for, and holds it for pod.
func (i *Images) Local(pod *corev1.Pod, c *corev1.Container) (persona.Image, bool) {
	if pullPolicy(c) == corev1.PullAlways {
		return persona.Image{}, false
	}
	img, err := i.hold(pod, c.Image)
	return img, err == nil && img.MayUse(c.Image, nil)
}

// Release lets the collector have the images that a pod was given.
func (i *Images) Release(uid types.UID) { i.holds.release(uid) }

// hold looks an image up, and keeps it for pod where it is here.
func (i *Images) hold(pod *corev1.Pod, ref string) (persona.Image, error) {
	return i.holds.take(pod.UID, func() (persona.Image, error) { return i.store.Lookup(ref) })
}

// Ensure returns the image of c, held for pod, and pulls it first where the policy says so. One try; errors are
// *ImageError, or ctx's.
func (i *Images) Ensure(ctx context.Context, pod *corev1.Pod, c *corev1.Container) (persona.Image, error) {
	local, err := i.hold(pod, c.Image)
	switch {
	case errors.Is(err, persona.ErrInvalidName):
		i.events.Container(pod, c.Name, events.Warning(eventInspectFailed, "Failed to apply default image tag %q: %v", c.Image, err))
		return persona.Image{}, i.failed(pod, c, reasonInvalidImageName, err)
	case err != nil && !errors.Is(err, persona.ErrNotFound):
		i.events.Container(pod, c.Name, events.Warning(eventInspectFailed, "Failed to inspect image %q: %v", c.Image, err))
		return persona.Image{}, i.failed(pod, c, reasonImageInspectError, err)
	}
	w := wanted{pod: pod, container: c}
	if err == nil {
		w.local = &local
	}
	policy := pullPolicy(c)
	if w.local != nil && policy != corev1.PullAlways && i.mayUse(ctx, &w) {
		i.metrics.requested("present")
		i.events.Container(pod, c.Name, events.Normal(eventPulled, "Container image %q already present on machine", c.Image))
		return local, nil
	}
	if policy == corev1.PullNever {
		return persona.Image{}, i.never(&w)
	}
	return i.pull(ctx, &w)
}

// wanted is an image that a container is to have.
type wanted struct {
	pod       *corev1.Pod
	container *corev1.Container
	local     *persona.Image // nil: it is not here
	// secrets are the pod's credentials for it, once read.
	secrets []persona.Credentials
	read    bool
}

// secretsOf reads the credentials of w's pod, once a try.
func (i *Images) secretsOf(ctx context.Context, w *wanted) []persona.Credentials {
	if !w.read {
		w.secrets, w.read = i.auth.secretsFor(ctx, w.pod, w.container.Image), true
	}
	return w.secrets
}

// mayUse tells whether the pod may have the image that is here without asking its registry.
func (i *Images) mayUse(ctx context.Context, w *wanted) bool {
	return w.local.MayUse(w.container.Image, nil) || w.local.MayUse(w.container.Image, holdersOf(i.secretsOf(ctx, w)))
}

// never is the end of policy Never without an image that may be used.
func (i *Images) never(w *wanted) error {
	err := fmt.Errorf("Container image %q is not present with pull policy of Never", w.container.Image)
	if w.local != nil {
		err = fmt.Errorf("Container image %q is present with pull policy of Never but does not have the proper credentials to access",
			w.container.Image)
	}
	i.events.Container(w.pod, w.container.Name, events.Warning(eventNeverPull, "%v", err))
	return i.failed(w.pod, w.container, reasonErrImageNeverPull, err)
}

// pull asks the registry. An image that was imported stands in for it.
func (i *Images) pull(ctx context.Context, w *wanted) (persona.Image, error) {
	pod, c := w.pod, w.container
	imported := fallback(w)
	i.events.Container(pod, c.Name, events.Normal(eventPulling, "Pulling image %q", c.Image))
	began := time.Now()
	request := pullRequest{ref: c.Image, auth: append(slices.Clone(i.secretsOf(ctx, w)), i.auth.nodesFor(ctx, c.Image)...)}
	request.progress = func(p persona.Progress) { i.events.Container(pod, c.Name, progressOf(c.Image, p)) }
	if imported != nil {
		request.patience = importedTry
	}
	done, err := i.pulls.do(ctx, request)
	if errors.Is(err, syscall.ENOSPC) {
		i.tellFull()
	}
	if err == nil {
		// It may have been collected since, or given another name.
		var img persona.Image
		if img, err = i.hold(pod, done.image.Digest); err == nil {
			i.metrics.requested("pulled")
			i.events.Container(pod, c.Name, events.Normal(eventPulled,
				"Successfully pulled image %q in %v (%v including waiting). Image size: %d bytes.",
				c.Image, done.took.Round(time.Millisecond), time.Since(began).Round(time.Millisecond), img.SizeBytes))
			return img, nil
		}
	}
	switch {
	case ctx.Err() != nil:
		return persona.Image{}, ctx.Err()
	case imported != nil:
		i.metrics.requested("imported")
		i.events.Container(pod, c.Name, events.Normal(eventPulled,
			"Container image %q was imported on this machine and is used as it is: its registry did not provide it: %v", c.Image, err))
		return *imported, nil
	}
	i.events.Container(pod, c.Name, events.Warning(eventImageFailed, "Failed to pull image %q: %v", c.Image, err))
	return persona.Image{}, i.failed(pod, c, reasonErrImagePull, err)
}

// tellFull has images collected now, so that the next try may find room.
func (i *Images) tellFull() {
	select {
	case i.full <- struct{}{}:
	default:
	}
}

// progressOf tells how far a long pull is.
func progressOf(image string, p persona.Progress) events.Notice {
	return events.Normal(eventPullProgress, "Pulling image %q: %d of %d MiB, layer %d of %d", image, p.Bytes>>20, p.TotalBytes>>20, p.Layer, p.Layers)
}

func (i *Images) failed(pod *corev1.Pod, c *corev1.Container, reason string, err error) error {
	i.metrics.requested("failed")
	i.events.Container(pod, c.Name, events.Warning(eventImageFailed, "Error: %s", reason))
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

// fallback returns the image that is here where it was imported: no registry has provided an image of that repository.
func fallback(w *wanted) *persona.Image {
	if w.local == nil {
		return nil
	}
	repo := repository(w.container.Image)
	for _, pulled := range w.local.RepoDigests {
		if repository(pulled) == repo {
			return nil
		}
	}
	return w.local
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
