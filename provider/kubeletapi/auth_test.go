package kubeletapi_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestWhoMayDoWhat(t *testing.T) {
	tests := map[string]struct {
		method, path string
		want         []string // what the API server is asked, in order
	}{
		"pods have a subresource of their own, then proxy": {"GET", "/pods", []string{"get pods", "get proxy"}},
		"health has one too":                                 {"GET", "/healthz", []string{"get healthz", "get proxy"}},
		"and so has configuration":                           {"GET", "/configz", []string{"get configz", "get proxy"}},
		"metrics are metrics alone":                          {"GET", "/metrics", []string{"get metrics"}},
		"and so are parts of them":                           {"GET", "/metrics/resource", []string{"get metrics"}},
		"stats are stats":                                    {"GET", "/stats/summary", []string{"get stats"}},
		"logs of the node are log":                           {"GET", "/logs/x", []string{"get log"}},
		"logs of a container are proxy":                      {"GET", "/containerLogs/n/p/c", []string{"get proxy"}},
		"exec is to create":                                  {"POST", "/exec/n/p/c", []string{"create proxy"}},
		"exec by websocket is to create, though it is a GET": {"GET", "/exec/n/p/c", []string{"create proxy"}},
		"attach by websocket is to create":                   {"GET", "/attach/n/p/c", []string{"create proxy"}},
		"port-forward by websocket is to create":             {"GET", "/portForward/n/p", []string{"create proxy"}},
		"run is to create":                                   {"POST", "/run/n/p/c", []string{"create proxy"}},
		"what is not there is proxy":                         {"DELETE", "/", []string{"delete proxy"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, r := newServer(t, &containers{})
			answer := ask(t, s, tt.method, tt.path)
			assert.Equal(t, http.StatusForbidden, answer.Code)
			want := make([]string, 0, len(tt.want))
			for _, w := range tt.want {
				want = append(want, "alice "+w+" nodes/v")
			}
			assert.Equal(t, want, r.asked)
		})
	}
}

func TestAPathCannotLookLikeAnother(t *testing.T) {
	s, _ := newServer(t, &containers{}, "get healthz")
	for _, path := range []string{"/healthz/../pods", "//pods", "/healthz/..//exec/n/p/c"} {
		answer := ask(t, s, http.MethodGet, path)
		assert.NotEqual(t, http.StatusOK, answer.Code, path)
		assert.NotContains(t, answer.Body.String(), "PodList", path)
	}
}

func TestNobodyIsAnonymous(t *testing.T) {
	s, r := newServer(t, &containers{}, "get healthz")
	for name, header := range map[string]string{
		"without a token":       "",
		"with an unknown token": "Bearer other",
		"with a password":       "Basic YTpi",
	} {
		t.Run(name, func(t *testing.T) {
			request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/healthz", nil)
			request.Header.Set("Authorization", header)
			answer := httptest.NewRecorder()
			s.Handler().ServeHTTP(answer, request)
			assert.Equal(t, http.StatusUnauthorized, answer.Code)
		})
	}
	assert.Empty(t, r.asked)
}

func TestAnswersOfTheAPIServerAreKept(t *testing.T) {
	s, r := newServer(t, &containers{}, "get healthz")
	for range 5 {
		assert.Equal(t, http.StatusOK, ask(t, s, http.MethodGet, "/healthz").Code)
	}
	assert.Equal(t, 1, r.tokens)
	assert.Len(t, r.asked, 1)
}
