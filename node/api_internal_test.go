package node

import (
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
)

// apiServer answers what a node asks before it runs.
type apiServer struct {
	*httptest.Server
	mu      sync.Mutex // guards what follows
	asked   []string
	objects map[string]runtime.Object // by path
}

// serveAPI serves an API server that takes its clients for user; it knows nobody where that is empty.
func serveAPI(t *testing.T, user string) *apiServer {
	t.Helper()
	a := &apiServer{objects: map[string]runtime.Object{
		"/apis/authentication.k8s.io/v1/selfsubjectreviews": &authenticationv1.SelfSubjectReview{
			TypeMeta: metav1.TypeMeta{APIVersion: "authentication.k8s.io/v1", Kind: "SelfSubjectReview"},
			Status:   authenticationv1.SelfSubjectReviewStatus{UserInfo: authenticationv1.UserInfo{Username: user}},
		},
	}}
	a.put("/api/v1/namespaces/kube-system", &corev1.Namespace{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"},
		ObjectMeta: metav1.ObjectMeta{Name: metav1.NamespaceSystem, UID: "cluster-1"},
	})
	a.Server = httptest.NewTLSServer(http.HandlerFunc(a.answer))
	t.Cleanup(a.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate().Raw})
	a.objects["/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"] = &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "extension-apiserver-authentication"},
		Data:       map[string]string{"client-ca-file": string(ca)},
	}
	return a
}

func (a *apiServer) answer(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, r.Method+" "+r.URL.Path)
	w.Header().Set("Content-Type", "application/json")
	o, ok := a.objects[r.URL.Path]
	if review, is := o.(*authenticationv1.SelfSubjectReview); is && review.Status.UserInfo.Username == "" {
		w.WriteHeader(http.StatusUnauthorized)
		o = &metav1.Status{
			TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Reason: metav1.StatusReasonUnauthorized, Code: http.StatusUnauthorized,
		}
	}
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		o = &metav1.Status{
			TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Reason: metav1.StatusReasonNotFound, Code: http.StatusNotFound,
		}
	}
	_ = json.NewEncoder(w).Encode(o) // a client that is gone needs no answer
}

func (a *apiServer) put(path string, o runtime.Object) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.objects[path] = o
}

func (a *apiServer) config() *rest.Config {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate().Raw})
	return &rest.Config{Host: a.URL, TLSClientConfig: rest.TLSClientConfig{CAData: ca}}
}

// requests are those since the last call.
func (a *apiServer) requests() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	asked := a.asked
	a.asked = nil
	return asked
}

func TestTheTestsAPIServerAnswersAsOne(t *testing.T) {
	a := serveAPI(t, "u")
	resp, err := a.Client().Get(a.URL + "/none")
	require.NoError(t, err)
	defer resp.Body.Close()
	assert.Equal(t, http.StatusNotFound, resp.StatusCode)
	assert.Equal(t, []string{"GET /none"}, a.requests())
}
