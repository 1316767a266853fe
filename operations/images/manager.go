package images

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

// Store is what a Manager needs of persona.
type Store interface {
	Lookup(ref string) (persona.Image, error)
	Pull(ctx context.Context, ref string, opts persona.PullOptions) (persona.Image, error)
	Source(img persona.Image) persona.Source
}

// Manager brings images to this machine as their pull policies say, each once however many pods ask, with the
// events of a kubelet. It is safe for concurrent use.
//
// An image that was imported has a name but perhaps no registry. So under policy Always the registry is asked, and when
// it does not answer soon, or answers with anything but the image, what was imported is used.
//
// An image that credentials have brought is for those who have shown some: under any policy a pod starts from it only if
// one of its secrets has worked for it before, or works now.
type Manager struct {
	store   Store
	pulls   *pulls
	auth    pullAuth
	holds   *holds
	events  events.Writer
	metrics *metrics
	full    chan struct{} // one token: a pull found the disk full
}

// Config is what a Manager works with.
type Config struct {
	Store   Store
	Secrets SecretSource
	// Node has credentials for everyone; nil is none.
	Node NodeCredentials
	// Parallel bounds the images that are pulled at one time; 0 is three.
	Parallel int
	Events   record.EventRecorder
	// Metrics shows requests and pulls; nil is nowhere.
	Metrics prometheus.Registerer
}

// New returns a Manager.
func New(cfg Config) *Manager {
	if cfg.Parallel == 0 {
		cfg.Parallel = parallelPulls
	}
	ev, metrics := events.To(cfg.Events), newMetrics(cfg.Metrics)
	return &Manager{
		store: cfg.Store, pulls: newPulls(cfg.Store, cfg.Parallel, metrics), holds: newHolds(), events: ev,
		auth: pullAuth{secrets: cfg.Secrets, node: cfg.Node, events: ev}, metrics: metrics,
		full: make(chan struct{}, 1),
	}
}

// Wait returns when no pull goes on: one that was called off undoes what it has begun. Nobody may call Ensure any more.
func (m *Manager) Wait() { m.pulls.wait() }

// Source returns the disk of img.
func (m *Manager) Source(img persona.Image) portlayer.DiskSource {
	return portlayer.DiskSource(m.store.Source(img))
}

// Local returns the image that c starts from where it needs neither be pulled nor asked for, and holds it for pod.
func (m *Manager) Local(pod *corev1.Pod, c *corev1.Container) (persona.Image, bool) {
	if pullPolicy(c) == corev1.PullAlways {
		return persona.Image{}, false
	}
	img, err := m.hold(pod, c.Image)
	return img, err == nil && img.MayUse(c.Image, nil)
}

// Release lets the collector have the images that a pod was given.
func (m *Manager) Release(uid types.UID) { m.holds.release(uid) }

// hold looks an image up, and keeps it for pod where it is here.
func (m *Manager) hold(pod *corev1.Pod, ref string) (persona.Image, error) {
	return m.holds.take(pod.UID, func() (persona.Image, error) { return m.store.Lookup(ref) })
}

// Ensure returns the image of c, held for pod, and pulls it first where the policy says so. One try; errors are
// *Error, or ctx's.
func (m *Manager) Ensure(ctx context.Context, pod *corev1.Pod, c *corev1.Container) (persona.Image, error) {
	local, err := m.hold(pod, c.Image)
	switch {
	case errors.Is(err, persona.ErrInvalidName):
		m.events.Container(pod, c.Name, events.Warning(eventInspectFailed, "Failed to apply default image tag: %v", err))
		return persona.Image{}, m.failed(pod, c, reasonInvalidImageName, err)
	case err != nil && !errors.Is(err, persona.ErrNotFound):
		m.events.Container(pod, c.Name, events.Warning(eventInspectFailed, "Failed to inspect image: %v", err))
		return persona.Image{}, m.failed(pod, c, reasonImageInspectError, err)
	}
	w := wanted{pod: pod, container: c}
	if err == nil {
		w.local = &local
	}
	policy := pullPolicy(c)
	if w.local != nil && policy != corev1.PullAlways && m.mayUse(ctx, &w) {
		m.metrics.requested("present")
		m.events.Container(pod, c.Name, events.Normal(eventPulled, "Container image %q already present on machine", c.Image))
		return local, nil
	}
	if policy == corev1.PullNever {
		return persona.Image{}, m.never(&w)
	}
	return m.pull(ctx, &w)
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
func (m *Manager) secretsOf(ctx context.Context, w *wanted) []persona.Credentials {
	if !w.read {
		w.secrets, w.read = m.auth.secretsFor(ctx, w.pod, w.container.Image), true
	}
	return w.secrets
}

// mayUse is true when the pod may have the image that is here without asking its registry.
func (m *Manager) mayUse(ctx context.Context, w *wanted) bool {
	return w.local.MayUse(w.container.Image, nil) || w.local.MayUse(w.container.Image, holdersOf(m.secretsOf(ctx, w)))
}

// never is the end of policy Never without an image that may be used.
func (m *Manager) never(w *wanted) error {
	text := fmt.Sprintf("Container image %q is not present with pull policy of Never", w.container.Image)
	if w.local != nil {
		text = fmt.Sprintf("Container image %q is present with pull policy of Never but does not have the proper credentials to access",
			w.container.Image)
	}
	m.events.Container(w.pod, w.container.Name, events.Warning(eventNeverPull, "%s", text))
	return m.failed(w.pod, w.container, reasonErrImageNeverPull, errors.New(text))
}

// pull asks the registry. An image that was imported stands in for it.
func (m *Manager) pull(ctx context.Context, w *wanted) (persona.Image, error) {
	pod, c := w.pod, w.container
	imported := fallback(w)
	m.events.Container(pod, c.Name, events.Normal(eventPulling, "Pulling image %q", c.Image))
	began := time.Now()
	request := pullRequest{ref: c.Image, auth: append(slices.Clone(m.secretsOf(ctx, w)), m.auth.nodesFor(ctx, c.Image)...)}
	request.progress = func(p persona.Progress) { m.events.Container(pod, c.Name, progressOf(c.Image, p)) }
	if imported != nil {
		request.patience = importedTry
	}
	done, err := m.pulls.do(ctx, request)
	if errors.Is(err, syscall.ENOSPC) {
		m.signalFull()
	}
	if err == nil {
		// It may have been collected since, or given another name.
		var img persona.Image
		if img, err = m.hold(pod, done.image.Digest); err == nil {
			m.metrics.requested("pulled")
			m.events.Container(pod, c.Name, events.Normal(eventPulled,
				"Successfully pulled image %q in %v (%v including waiting). Image size: %d bytes.",
				c.Image, done.took.Round(time.Millisecond), time.Since(began).Round(time.Millisecond), img.SizeBytes))
			return img, nil
		}
	}
	switch {
	case ctx.Err() != nil:
		return persona.Image{}, ctx.Err()
	case imported != nil:
		m.metrics.requested("imported")
		m.events.Container(pod, c.Name, events.Normal(eventPulled,
			"Container image %q was imported on this machine and is used as it is: its registry did not provide it: %v", c.Image, cause(err)))
		return *imported, nil
	}
	m.events.Container(pod, c.Name, events.Warning(eventFailed, "Failed to pull image %q: %v", c.Image, cause(err)))
	return persona.Image{}, m.failed(pod, c, reasonErrImagePull, err)
}

// signalFull has images collected now, so that the next try may find room.
func (m *Manager) signalFull() {
	select {
	case m.full <- struct{}{}:
	default:
	}
}

// progressOf says how far a long pull is.
func progressOf(image string, p persona.Progress) events.Notice {
	return events.Normal(eventPullProgress, "Pulling image %q: %d of %d MiB, layer %d of %d", image, p.Bytes>>20, p.TotalBytes>>20, p.Layer, p.Layers)
}

func (m *Manager) failed(pod *corev1.Pod, c *corev1.Container, reason string, err error) error {
	m.metrics.requested("failed")
	m.events.Container(pod, c.Name, events.Warning(eventFailed, "Error: %s", reason))
	return &Error{Reason: reason, Err: err}
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

// DiskSerial names the disk of an image in a VM, within the 36 characters that a serial number may have.
func DiskSerial(img persona.Image) string {
	const prefix, digits = "img-", 32
	hex := strings.TrimPrefix(img.DiskDigest, "sha256:")
	return prefix + hex[:min(digits, len(hex))]
}

// ID is how a container's status names its image: by a digest that can be pulled, where there is one.
func ID(img persona.Image) string {
	if len(img.RepoDigests) > 0 {
		return img.RepoDigests[0]
	}
	return img.ID
}
