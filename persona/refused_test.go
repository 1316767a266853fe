package persona_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/persona"
)

func TestAServiceOnLoopbackIsNotAskedForAnImageUnlessItIsListed(t *testing.T) {
	asked := 0
	r := startRegistry(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				asked++
			}
			next.ServeHTTP(w, r)
		})
	})
	ref := push(t, r, "hello", build(t, "x"))
	_, port, _ := strings.Cut(r.Host, ":")
	for name, tt := range map[string]struct {
		insecure []string
		ref      string
		want     string
	}{
		"by address":                  {nil, ref, "plain HTTP is allowed for insecure registries only"},
		"by name":                     {nil, "localhost:" + port + "/hello", "plain HTTP is allowed for insecure registries only"},
		"where another port is meant": {[]string{"127.0.0.1:1"}, ref, "plain HTTP is allowed for insecure registries only"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := persona.Open(persona.Config{Dir: t.TempDir(), Platform: "linux/amd64", InsecureRegistries: tt.insecure})
			require.NoError(t, err)
			_, err = s.Pull(t.Context(), tt.ref, persona.PullOptions{})
			require.ErrorContains(t, err, tt.want)
			require.Zero(t, asked)
		})
	}
	for _, insecure := range []string{"127.0.0.1", r.Host} {
		s, err := persona.Open(persona.Config{Dir: t.TempDir(), Platform: "linux/amd64", InsecureRegistries: []string{insecure}})
		require.NoError(t, err)
		_, err = s.Pull(t.Context(), ref, persona.PullOptions{})
		require.NoError(t, err)
	}
}

func TestARegistryIsNotRedirectedToLoopback(t *testing.T) {
	asked := 0
	service := startUnlisted(t, func(w http.ResponseWriter, _ *http.Request) {
		asked++
		_, _ = w.Write([]byte("for this machine only"))
	})
	r := startRegistry(t, func(http.Handler) http.Handler {
		return http.RedirectHandler("http://"+service+"/admin", http.StatusTemporaryRedirect)
	})
	_, err := open(t, persona.Config{}).Pull(t.Context(), r.Host+"/hello", persona.PullOptions{})
	require.ErrorContains(t, err, "plain HTTP is allowed for insecure registries only")
	require.Zero(t, asked)
}

func TestAnErrorQuotesARegistryAndNobodyElse(t *testing.T) {
	long := strings.Repeat("x", 5000)
	for name, tt := range map[string]struct{ body, want string }{
		"a registry":                  {`{"errors":[{"code":"DENIED","message":"no such team","detail":"hunter2"}]}`, ": DENIED: no such team"},
		"a registry of many words":    {`{"errors":[{"code":"DENIED","message":"` + long + `"}]}`, ": DENIED: " + long[:256] + "…"},
		"a registry of many errors":   {`{"errors":[` + strings.Repeat(`{"code":"DENIED","message":"a"},`, 99) + `{}]}`, ": DENIED: a; DENIED: a; DENIED: a"},
		"a registry of several lines": {`{"errors":[{"code":"DENIED","message":"a\nb\u001b[31mc"}]}`, ": DENIED: a b [31mc"},
		"a page":                      {"<html>hunter2</html>", ": unexpected status code 418 I'm a teapot"},
		"another service":             {`{"kind":"Secret","data":{"password":"hunter2"}}`, ": unexpected status code 418 I'm a teapot"},
		"another service's errors":    {`{"errors":[{"code":"user","message":"hunter2"},{"message":"hunter2"}]}`, ": unexpected status code 418 I'm a teapot"},
		"an endless answer":           {strings.Repeat("hunter2 ", 100_000), ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := startRegistry(t, func(http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/v2/" {
						return
					}
					w.WriteHeader(http.StatusTeapot)
					_, _ = w.Write([]byte(tt.body))
				})
			})
			_, err := open(t, persona.Config{}).Pull(t.Context(), r.Host+"/hello", persona.PullOptions{})
			require.ErrorContains(t, err, tt.want)
			require.NotContains(t, err.Error(), "hunter2")
			require.Less(t, len(err.Error()), 1000)
		})
	}
}

func TestAnErrorDoesNotTellTheQueryOfARedirect(t *testing.T) {
	for name, target := range map[string]string{
		"to nobody":    "http://127.0.0.1:1/blob?X-Amz-Signature=hunter2",
		"to a refusal": "/v2/elsewhere?X-Amz-Signature=hunter2",
		"to no URL":    "http://hunter2 is not/a URL",
	} {
		t.Run(name, func(t *testing.T) {
			r := startRegistry(t, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
						w.Header().Set("Location", target)
						w.WriteHeader(http.StatusTemporaryRedirect)
						return
					}
					next.ServeHTTP(w, r)
				})
			})
			ref := push(t, r, "hello", build(t, "x"))
			_, err := open(t, persona.Config{InsecureRegistries: []string{"127.0.0.1:1"}}).Pull(t.Context(), ref, persona.PullOptions{})
			require.Error(t, err)
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
}

// startUnlisted starts a service on loopback that is not an insecure registry.
func startUnlisted(t *testing.T, serve http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(serve)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}
