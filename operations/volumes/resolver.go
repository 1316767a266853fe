package volumes

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/operations/downward"
)

// maxVolumeBytes leaves room for base64 and names in one call to the guest.
const maxVolumeBytes = wire.MaxBodyBytes / 8 * 5

// defaultMode is that of files where the API server did not fill it in.
const defaultMode = 0o644

// tokenMode is that of a token that has an owner, whatever the volume's is, as a kubelet has it.
const tokenMode = 0o600

// Objects reads config maps and secrets, claims and volumes. What is absent is an error that apierrors.IsNotFound knows. Results are shared
// and must not be changed.
type Objects interface {
	ConfigMap(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error)
	Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error)
	PersistentVolumeClaim(ctx context.Context, namespace, name string) (*corev1.PersistentVolumeClaim, error)
	PersistentVolume(ctx context.Context, name string) (*corev1.PersistentVolume, error)
}

// Config is what a Resolver needs.
type Config struct {
	Objects Objects
	// Client requests service-account tokens.
	Client kubernetes.Interface
	// Now is the clock; time.Now where it is nil.
	Now func() time.Time
}

// Inputs are what downward API files may refer to and what is known only after the pod's VM runs.
type Inputs = downward.Inputs

// Resolver fills volumes. It is safe for concurrent use.
type Resolver struct {
	objects Objects
	tokens  *tokens
}

// New returns a Resolver.
func New(cfg Config) *Resolver {
	now := cfg.Now
	if now == nil {
		now = time.Now
	}
	return &Resolver{objects: cfg.Objects, tokens: newTokens(cfg.Client, now)}
}

// Forget drops the tokens of a pod that is gone.
func (r *Resolver) Forget(uid types.UID) { r.tokens.forget(uid) }

// Files returns the whole content of v, and when it should be asked for again at the latest; zero is never. Files are
// in the order of their paths. An error that retrying may mend is a *MountError.
func (r *Resolver) Files(ctx context.Context, pod *corev1.Pod, v *corev1.Volume, in Inputs) (wire.Files, time.Time, error) {
	f := &filler{Resolver: r, pod: pod, in: in, files: map[string]wire.File{}}
	if err := f.volume(ctx, &v.VolumeSource); err != nil {
		if ctx.Err() != nil {
			return wire.Files{}, time.Time{}, fmt.Errorf("fill volume %s: %w", v.Name, err)
		}
		return wire.Files{}, time.Time{}, mountError(v.Name, err)
	}
	files, err := f.sorted()
	if err != nil {
		return wire.Files{}, time.Time{}, mountError(v.Name, err)
	}
	return wire.Files{Volume: v.Name, Files: files}, f.refresh, nil
}

func (f *filler) volume(ctx context.Context, v *corev1.VolumeSource) error {
	switch {
	case v.ConfigMap != nil:
		s := v.ConfigMap
		f.mode, f.user = modeOr(s.DefaultMode, defaultMode), s.DefaultUser
		return f.configMap(ctx, selection{s.Name, s.Items, isTrue(s.Optional)})
	case v.Secret != nil:
		s := v.Secret
		f.mode, f.user = modeOr(s.DefaultMode, defaultMode), s.DefaultUser
		return f.secret(ctx, selection{s.SecretName, s.Items, isTrue(s.Optional)})
	case v.DownwardAPI != nil:
		f.mode, f.user = modeOr(v.DownwardAPI.DefaultMode, defaultMode), v.DownwardAPI.DefaultUser
		return f.downward(v.DownwardAPI.Items)
	case v.Projected != nil:
		f.mode, f.user = modeOr(v.Projected.DefaultMode, defaultMode), v.Projected.DefaultUser
		var errs []error
		for i := range v.Projected.Sources {
			errs = append(errs, f.projection(ctx, &v.Projected.Sources[i]))
		}
		return errors.Join(errs...)
	}
	return errors.New("the volume holds no files of the host")
}

func (f *filler) projection(ctx context.Context, p *corev1.VolumeProjection) error {
	switch {
	case p.ConfigMap != nil:
		return f.configMap(ctx, selection{p.ConfigMap.Name, p.ConfigMap.Items, isTrue(p.ConfigMap.Optional)})
	case p.Secret != nil:
		return f.secret(ctx, selection{p.Secret.Name, p.Secret.Items, isTrue(p.Secret.Optional)})
	case p.DownwardAPI != nil:
		return f.downward(p.DownwardAPI.Items)
	case p.ServiceAccountToken != nil:
		return f.token(ctx, p.ServiceAccountToken)
	}
	return errors.New("unknown source of a projected volume")
}

func isTrue(b *bool) bool { return b != nil && *b }

func modeOr(mode *int32, otherwise uint32) uint32 {
	if mode == nil {
		return otherwise
	}
	return uint32(*mode) & 0o777
}
