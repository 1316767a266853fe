package volumes

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// Objects reads config maps and secrets. What is absent is an error that apierrors.IsNotFound knows. Results are shared
// and must not be changed.
type Objects interface {
	ConfigMap(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error)
	Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error)
}

// Config is what a Resolver needs.
type Config struct {
	Objects Objects
	// Client requests service-account tokens.
	Client   kubernetes.Interface
	NodeName string
	Events   record.EventRecorder
	// Now is the clock; time.Now where it is nil.
	Now func() time.Time
}

// Inputs are what downward API files may refer to and what is known only after the pod's VM runs.
type Inputs struct {
	PodIP           string
	HostIP          string
	NodeAllocatable corev1.ResourceList
}

// Resolver fills volumes. It is safe for concurrent use.
type Resolver struct {
	cfg Config
}

// New returns a Resolver.
func New(cfg Config) *Resolver { return &Resolver{cfg: cfg} }

// Files returns the whole content of v, and when it should be asked for again at the latest; zero is never. Files are
// in the order of their paths. An error that retrying may mend is a *MountError.
func (r *Resolver) Files(ctx context.Context, pod *corev1.Pod, v *corev1.Volume, in Inputs) (wire.Files, time.Time, error) {
	return wire.Files{}, time.Time{}, nil
}

// Forget drops the tokens of a pod that is gone.
func (r *Resolver) Forget(uid types.UID) {}
