package volumes

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/virtual-kubelet/vic/internal/logging"
)

const (
	// maxTokenAge and tokenLifeUsed say when a token is renewed, as the kubelet does: after a day, and when 80 % of its
	// life is over.
	maxTokenAge   = 24 * time.Hour
	tokenLifeUsed = 80
	// tokenRetry is when a renewal that failed is tried again while the old token holds.
	tokenRetry = time.Minute
	// defaultExpiration is what the API server fills in for expirationSeconds.
	defaultExpiration = time.Hour
)

// tokens requests service-account tokens and keeps each until it is due for renewal.
type tokens struct {
	client kubernetes.Interface
	now    func() time.Time

	mu    sync.Mutex // guards cache
	cache map[tokenKey]token
}

// tokenKey is what a token is for.
type tokenKey struct {
	pod      types.UID
	account  string
	audience string
	seconds  int64
}

type token struct {
	value   string
	renew   time.Time
	expires time.Time
}

func newTokens(client kubernetes.Interface, now func() time.Time) *tokens {
	return &tokens{client: client, now: now, cache: map[tokenKey]token{}}
}

// get returns a token for pod, bound to it, and when to ask again.
func (t *tokens) get(
	ctx context.Context, pod *corev1.Pod, p *corev1.ServiceAccountTokenProjection,
) (string, time.Time, error) {
	key := tokenKey{
		pod:      pod.UID,
		account:  cmp.Or(pod.Spec.ServiceAccountName, "default"),
		audience: p.Audience,
		seconds:  int64(defaultExpiration / time.Second),
	}
	if p.ExpirationSeconds != nil {
		key.seconds = *p.ExpirationSeconds
	}
	old, now := t.cached(key), t.now()
	if now.Before(old.renew) {
		return old.value, old.renew, nil
	}
	fresh, err := t.request(ctx, pod, key)
	if err != nil {
		if now.Before(old.expires) {
			logging.From(ctx).WarnContext(ctx, "service-account token not renewed", "err", err)
			return old.value, now.Add(tokenRetry), nil
		}
		return "", time.Time{}, fmt.Errorf("fetch token of service account %s/%s: %w", pod.Namespace, key.account, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cache[key] = fresh
	return fresh.value, fresh.renew, nil
}

func (t *tokens) cached(key tokenKey) token {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.cache[key]
}

func (t *tokens) request(ctx context.Context, pod *corev1.Pod, key tokenKey) (token, error) {
	req := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: &key.seconds,
		BoundObjectRef: &authenticationv1.BoundObjectReference{
			APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID,
		},
	}}
	if key.audience != "" {
		req.Spec.Audiences = []string{key.audience}
	}
	got, err := t.client.CoreV1().ServiceAccounts(pod.Namespace).
		CreateToken(ctx, key.account, req, metav1.CreateOptions{})
	if err != nil {
		return token{}, err
	}
	life := time.Duration(key.seconds) * time.Second
	if s := got.Spec.ExpirationSeconds; s != nil {
		life = time.Duration(*s) * time.Second
	}
	expires := got.Status.ExpirationTimestamp.Time
	begin := expires.Add(-life)
	return token{
		value:   got.Status.Token,
		renew:   begin.Add(min(maxTokenAge, life/100*tokenLifeUsed)),
		expires: expires,
	}, nil
}

// forget drops the tokens of a pod.
func (t *tokens) forget(uid types.UID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key := range t.cache {
		if key.pod == uid {
			delete(t.cache, key)
		}
	}
}
