package node

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// authoritySecret has the authority that guests trust, so that another process can take their channels.
	authoritySecret = "vic-guests"
	authorityKey    = "authority.pem"
)

// secretAuthority keeps the authority that guests trust in a Secret of that namespace. api reads past any cache.
func secretAuthority(c client.Writer, api client.Reader, namespace string) AuthorityKeeper {
	key := client.ObjectKey{Namespace: namespace, Name: authoritySecret}
	return func(ctx context.Context, made func() ([]byte, error)) ([]byte, error) {
		var secret corev1.Secret
		err := api.Get(ctx, key, &secret)
		if apierrors.IsNotFound(err) {
			pem, failed := made()
			if failed != nil {
				return nil, failed
			}
			secret = corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}, Data: map[string][]byte{authorityKey: pem}}
			if err = c.Create(ctx, &secret); apierrors.IsAlreadyExists(err) {
				err = api.Get(ctx, key, &secret)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("authority of guests in Secret %s: %w", key, err)
		}
		pem := secret.Data[authorityKey]
		if len(pem) == 0 {
			return nil, fmt.Errorf("authority of guests in Secret %s: it has no %s", key, authorityKey)
		}
		return pem, nil
	}
}
