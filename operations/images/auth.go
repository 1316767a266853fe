package images

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/operations/events"
	"github.com/virtual-kubelet/vic/persona"
	"github.com/virtual-kubelet/vic/persona/keyring"
)

// SecretSource reads the secrets that pods name.
type SecretSource interface {
	Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error)
}

// NodeCredentials are those that the node has for an image whoever asks for it.
type NodeCredentials interface {
	Lookup(ctx context.Context, image string) ([]persona.Credentials, error)
}

// pullAuth finds the credentials that a pod's images are pulled with: those of its imagePullSecrets first, which have its
// service account's since admission, and then the node's.
type pullAuth struct {
	secrets SecretSource
	node    NodeCredentials // nil: there are none
	events  events.Writer
}

// secretsFor returns the credentials for an image that the pod's secrets hold. What can't be read is left out, with an
// event.
func (a pullAuth) secretsFor(ctx context.Context, pod *corev1.Pod, image string) []persona.Credentials {
	var ring keyring.Keyring
	var lost []string
	for _, ref := range pod.Spec.ImagePullSecrets {
		if ref.Name == "" {
			continue // the API server takes it, and it means nothing
		}
		if err := a.add(ctx, &ring, pod.Namespace, ref.Name); err != nil {
			lost = append(lost, ref.Name+why(err))
			logging.From(ctx).DebugContext(ctx, "pull secret could not be used", "err", fmt.Errorf("secret %s: %w", ref.Name, err))
		}
	}
	if len(lost) > 0 {
		a.events.Pod(pod, events.Warning(eventPullSecretFailed,
			"Unable to retrieve some image pull secrets (%s); attempting to pull the image may not succeed.", strings.Join(lost, ", ")))
	}
	return ring.Lookup(image)
}

// why says what is wrong with a secret beyond that it is not there.
func why(err error) string {
	if apierrors.IsNotFound(err) {
		return ""
	}
	return fmt.Sprintf(": %v", err)
}

// add puts what a secret holds into ring. Its UID is the holder, so that a later secret of that name is another.
func (a pullAuth) add(ctx context.Context, ring *keyring.Keyring, namespace, name string) error {
	secret, err := a.secrets.Secret(ctx, namespace, name)
	if err != nil {
		return err
	}
	holder := string(secret.UID)
	switch secret.Type {
	case corev1.SecretTypeDockerConfigJson:
		return ring.AddConfigJSON(secret.Data[corev1.DockerConfigJsonKey], holder)
	case corev1.SecretTypeDockercfg:
		return ring.AddConfig(secret.Data[corev1.DockerConfigKey], holder)
	default:
		return fmt.Errorf("its type is %s, not %s", secret.Type, corev1.SecretTypeDockerConfigJson)
	}
}

// nodesFor returns the node's own credentials for an image.
func (a pullAuth) nodesFor(ctx context.Context, image string) []persona.Credentials {
	if a.node == nil {
		return nil
	}
	all, err := a.node.Lookup(ctx, image)
	if err != nil {
		logging.From(ctx).WarnContext(ctx, "credential provider failed", "err", err)
	}
	return all
}

// holdersOf are those who have the credentials.
func holdersOf(all []persona.Credentials) []string {
	var holders []string
	for _, c := range all {
		if c.Holder != "" && !slices.Contains(holders, c.Holder) {
			holders = append(holders, c.Holder)
		}
	}
	return holders
}
