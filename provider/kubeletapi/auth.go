package kubeletapi

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/client-go/kubernetes"

	"github.com/virtual-kubelet/vic/internal/logging"
)

// How long answers of the API server hold: the kubelet's defaults.
const (
	tokenTTL = 2 * time.Minute
	allowTTL = 5 * time.Minute
	denyTTL  = 30 * time.Second
)

// reviewTimeout bounds one TokenReview, so that a caller is not left waiting while the API server is away.
const reviewTimeout = 10 * time.Second

// AuthConfig is what authentication and authorization need.
type AuthConfig struct {
	// Client makes the reviews. It should have a rate limit of its own: whoever reaches the port can cause a
	// TokenReview, and the limit also bounds the answers that are kept.
	Client   kubernetes.Interface
	NodeName string
	// ClientCA is the authority of client certificates; without it, only tokens count.
	ClientCA dynamiccertificates.CAContentProvider
}

// Auth says who asks and whether they may.
type Auth struct {
	authenticator authenticator.Request
	authorizer    authorizer.Authorizer
	nodeName      string
}

// NewAuth returns an Auth by TokenReview, client certificate and SubjectAccessReview.
func NewAuth(cfg AuthConfig) (Auth, error) {
	// A few quick retries: the API server may be restarting.
	backoff := &wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 4}
	authn, _, err := authenticatorfactory.DelegatingAuthenticatorConfig{
		TokenAccessReviewClient:            cfg.Client.AuthenticationV1(),
		TokenAccessReviewTimeout:           reviewTimeout,
		WebhookRetryBackoff:                backoff,
		CacheTTL:                           tokenTTL,
		ClientCertificateCAContentProvider: cfg.ClientCA,
	}.New()
	if err != nil {
		return Auth{}, fmt.Errorf("set up authentication: %w", err)
	}
	authz, err := authorizerfactory.DelegatingAuthorizerConfig{
		SubjectAccessReviewClient: cfg.Client.AuthorizationV1(),
		AllowCacheTTL:             allowTTL,
		DenyCacheTTL:              denyTTL,
		WebhookRetryBackoff:       backoff,
	}.New()
	if err != nil {
		return Auth{}, fmt.Errorf("set up authorization: %w", err)
	}
	return Auth{authenticator: authn, authorizer: authz, nodeName: cfg.NodeName}, nil
}

// protect lets next answer those who are known and may.
func (a Auth) protect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		who, ok, err := a.authenticator.AuthenticateRequest(r)
		if err != nil || !ok {
			logging.From(ctx).DebugContext(ctx, "kubelet API request not authenticated", "err", err)
			http.Error(w, "Unauthorized", http.StatusUnauthorized)
			return
		}
		var failed error
		for _, attributes := range attributesOf(a.nodeName, who.User, r) {
			decision, _, err := a.authorizer.Authorize(ctx, attributes)
			if decision == authorizer.DecisionAllow {
				next.ServeHTTP(w, r)
				return
			}
			failed = errors.Join(failed, err)
		}
		if failed != nil {
			logging.From(ctx).WarnContext(ctx, "kubelet API request not authorized", "err", failed)
			http.Error(w, "Authorization failed", http.StatusInternalServerError)
			return
		}
		http.Error(w, fmt.Sprintf("Forbidden (user=%s, verb=%s, resource=nodes)", who.User.GetName(), verbOf(r)), http.StatusForbidden)
	})
}

// attributesOf says what is to be allowed; any of them will do. See the kubelet's documentation, "Kubelet
// authentication/authorization", with the finer subresources first.
func attributesOf(nodeName string, who user.Info, r *http.Request) []authorizer.Attributes {
	subresources := subresourcesOf(r.URL.Path)
	attributes := make([]authorizer.Attributes, 0, len(subresources))
	for _, subresource := range subresources {
		attributes = append(attributes, authorizer.AttributesRecord{
			User:            who,
			Verb:            verbOf(r),
			APIVersion:      "v1",
			Resource:        "nodes",
			Subresource:     subresource,
			Name:            nodeName,
			ResourceRequest: true,
			Path:            r.URL.Path,
		})
	}
	return attributes
}

func subresourcesOf(path string) []string {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	switch first {
	case "pods", "healthz", "configz":
		return []string{first, "proxy"}
	case "stats", "metrics":
		return []string{first}
	case "logs":
		return []string{"log"}
	default:
		return []string{"proxy"}
	}
}

func verbOf(r *http.Request) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch first {
	case "exec", "attach", "portForward", "run":
		return "create"
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return "get"
	case http.MethodPost:
		return "create"
	case http.MethodPut:
		return "update"
	case http.MethodPatch:
		return "patch"
	case http.MethodDelete:
		return "delete"
	default:
		return ""
	}
}
