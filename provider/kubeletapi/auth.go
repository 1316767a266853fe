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

// errTooManyFailures says that an address has come with too many tokens that nobody knows.
var errTooManyFailures = errors.New("too many failures to authenticate from this address")

// AuthConfig is what authentication and authorization need.
type AuthConfig struct {
	// Tokens asks whose a token is, and Access what somebody may. Each has a rate limit of its own: whoever reaches the port
	// can cause a TokenReview, and must not hold up those who have a certificate. The limits also bound the answers that are kept.
	Tokens, Access kubernetes.Interface
	NodeName       string
	// ClientCA is the authority of client certificates; without it, only tokens count.
	ClientCA dynamiccertificates.CAContentProvider
}

// Auth says who asks and whether they may.
type Auth struct {
	certificates authenticator.Request // nil without an authority
	tokens       authenticator.Request
	failures     *failures
	authorizer   authorizer.Authorizer
	nodeName     string
}

// NewAuth returns an Auth by TokenReview, client certificate and SubjectAccessReview.
func NewAuth(cfg AuthConfig) (Auth, error) {
	// A few quick retries: the API server may be restarting.
	backoff := &wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 4}
	tokens, _, err := authenticatorfactory.DelegatingAuthenticatorConfig{
		TokenAccessReviewClient:  cfg.Tokens.AuthenticationV1(),
		TokenAccessReviewTimeout: reviewTimeout,
		WebhookRetryBackoff:      backoff,
		CacheTTL:                 tokenTTL,
	}.New()
	if err != nil {
		return Auth{}, fmt.Errorf("set up authentication: %w", err)
	}
	var certificates authenticator.Request
	if cfg.ClientCA != nil {
		certificates, _, err = authenticatorfactory.DelegatingAuthenticatorConfig{ClientCertificateCAContentProvider: cfg.ClientCA}.New()
		if err != nil {
			return Auth{}, fmt.Errorf("set up authentication by certificate: %w", err)
		}
	}
	authz, err := authorizerfactory.DelegatingAuthorizerConfig{
		SubjectAccessReviewClient: cfg.Access.AuthorizationV1(),
		AllowCacheTTL:             allowTTL,
		DenyCacheTTL:              denyTTL,
		WebhookRetryBackoff:       backoff,
	}.New()
	if err != nil {
		return Auth{}, fmt.Errorf("set up authorization: %w", err)
	}
	return Auth{certificates: certificates, tokens: tokens, failures: newFailures(), authorizer: authz, nodeName: cfg.NodeName}, nil
}

// authenticate says who asks; nil is nobody. errTooManyFailures.
func (a Auth) authenticate(r *http.Request) (user.Info, error) {
	var failed error
	if a.certificates != nil {
		who, ok, err := a.certificates.AuthenticateRequest(r)
		if ok && err == nil {
			return who.User, nil
		}
		failed = err
	}
	from := source(r.RemoteAddr)
	if !a.failures.begin(from) {
		return nil, errTooManyFailures
	}
	who, ok, err := a.tokens.AuthenticateRequest(r)
	if !ok || err != nil {
		return nil, errors.Join(failed, err)
	}
	a.failures.succeeded(from)
	return who.User, nil
}

// protect lets next answer those who are known and may.
func (a Auth) protect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		who, err := a.authenticate(r)
		if who == nil {
			logging.From(ctx).DebugContext(ctx, "kubelet API request not authenticated", "err", err)
			w.Header().Set("Connection", "close") // nobody waits on it
			if errors.Is(err, errTooManyFailures) {
				http.Error(w, "Too many failures to authenticate", http.StatusTooManyRequests)
				return
			}
			http.Error(w, "Unauthorized", http.StatusUnauthorized)
			return
		}
		admit(ctx)
		var failed error
		for _, attributes := range attributesOf(a.nodeName, who, r) {
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
		http.Error(w, fmt.Sprintf("Forbidden (user=%s, verb=%s, resource=nodes)", who.GetName(), verbOf(r)), http.StatusForbidden)
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
