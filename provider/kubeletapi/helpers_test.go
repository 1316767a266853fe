package kubeletapi_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	statsv1alpha1 "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/operations"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
	"github.com/virtual-kubelet/vic/provider/kubeletapi"
)

// containers answers with its functions.
type containers struct {
	running error
	logs    func(context.Context, operations.Container, podvm.LogOptions) (io.ReadCloser, error)
	exec    func(context.Context, operations.Container, wire.Exec, podvm.Stdio) (wire.Exit, error)
	dial    func() (io.ReadWriteCloser, error)
}

func (c *containers) Running(context.Context, operations.Container) error { return c.running }

func (c *containers) Logs(ctx context.Context, of operations.Container, opts podvm.LogOptions) (io.ReadCloser, error) {
	return c.logs(ctx, of, opts)
}

func (c *containers) Exec(ctx context.Context, of operations.Container, e wire.Exec, s podvm.Stdio) (wire.Exit, error) {
	return c.exec(ctx, of, e, s)
}

func (c *containers) Attach(ctx context.Context, of operations.Container, _ wire.Attach, s podvm.Stdio) (wire.Exit, error) {
	return c.exec(ctx, of, wire.Exec{}, s)
}

func (c *containers) DialPort(context.Context, string, string, uint16) (io.ReadWriteCloser, error) {
	return c.dial()
}

// used has one metric of a node.
type used struct{}

func (used) Resource(context.Context) ([]*dto.MetricFamily, error) {
	name, value, kind := "m", 1., dto.MetricType_GAUGE
	return []*dto.MetricFamily{{Name: &name, Type: &kind, Metric: []*dto.Metric{{Gauge: &dto.Gauge{Value: &value}}}}}, nil
}

func (used) Summary(context.Context) (*statsv1alpha1.Summary, error) {
	return &statsv1alpha1.Summary{Node: statsv1alpha1.NodeStats{NodeName: "v"}}, nil
}

// reviewer is an API server that knows one token, "known", of the user alice, and remembers what is asked of it.
type reviewer struct {
	mu      sync.Mutex      // guards all below
	allowed map[string]bool // "verb subresource"
	asked   []string
	tokens  int
}

func (r *reviewer) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch request.URL.Path {
	case "/apis/authentication.k8s.io/v1/tokenreviews":
		var review authenticationv1.TokenReview
		answer(w, request, &review, func() {
			r.tokens++
			if review.Spec.Token == "known" {
				review.Status.Authenticated = true
				review.Status.User = authenticationv1.UserInfo{Username: "alice", Groups: []string{"g"}}
			}
		})
	case "/apis/authorization.k8s.io/v1/subjectaccessreviews":
		var review authorizationv1.SubjectAccessReview
		answer(w, request, &review, func() {
			what := review.Spec.ResourceAttributes
			asked := what.Verb + " " + what.Subresource
			r.asked = append(r.asked, review.Spec.User+" "+asked+" "+what.Resource+"/"+what.Name)
			review.Status.Allowed = r.allowed[asked]
		})
	default:
		http.NotFound(w, request)
	}
}

func answer(w http.ResponseWriter, request *http.Request, review any, decide func()) {
	if err := json.NewDecoder(request.Body).Decode(review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	decide()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(review)
}

func newAuth(t *testing.T, r *reviewer) kubeletapi.Auth {
	t.Helper()
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	client, err := kubernetes.NewForConfig(&rest.Config{
		Host: server.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"},
	})
	require.NoError(t, err)
	auth, err := kubeletapi.NewAuth(kubeletapi.AuthConfig{Tokens: client, Access: client, NodeName: "v"})
	require.NoError(t, err)
	return auth
}

func newServer(t *testing.T, c *containers, allowed ...string) (*kubeletapi.Server, *reviewer) {
	t.Helper()
	r := &reviewer{allowed: map[string]bool{}}
	for _, a := range allowed {
		r.allowed[a] = true
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p"},
		Spec: corev1.PodSpec{
			InitContainers: []corev1.Container{{Name: "i"}},
			Containers:     []corev1.Container{{Name: "c"}, {Name: "fresh"}},
		},
		Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
			Name: "c", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}},
		}}},
	}
	return kubeletapi.New(kubeletapi.Config{
		Containers: c,
		Pod: func(_, name string) (*corev1.Pod, error) {
			if name != pod.Name {
				return nil, portlayer.ErrNotFound
			}
			return pod, nil
		},
		Pods:           func(context.Context) ([]*corev1.Pod, error) { return []*corev1.Pod{pod}, nil },
		Auth:           newAuth(t, r),
		Metrics:        prometheus.NewRegistry(),
		Usage:          used{},
		Settings:       map[string]string{"node": "v"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("no certificate") },
	}), r
}

// ask sends a request as alice.
func ask(t *testing.T, s *kubeletapi.Server, method, path string) *httptest.ResponseRecorder {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), method, path, nil)
	request.Header.Set("Authorization", "Bearer known")
	answer := httptest.NewRecorder()
	s.Handler().ServeHTTP(answer, request)
	return answer
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return l
}
