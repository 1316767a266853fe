package persona_test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/internal/testregistry"
	"github.com/virtual-kubelet/vic/persona"
)

// hostsDir makes a folder of files.
func hostsDir(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	return dir
}

func startTLSRegistry(t *testing.T, config *tls.Config, wrap func(http.Handler) http.Handler) *testregistry.Registry {
	t.Helper()
	r, err := testregistry.StartTLS(t.Context(), config, wrap)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, r.Close()) })
	return r
}

func authority(t *testing.T) (*testregistry.Authority, *tls.Config) {
	t.Helper()
	a, err := testregistry.NewAuthority()
	require.NoError(t, err)
	config, err := a.ServerTLS()
	require.NoError(t, err)
	return a, config
}

func TestPrivateAuthorityIsTrustedWhereItIsConfigured(t *testing.T) {
	ca, config := authority(t)
	r := startTLSRegistry(t, config, nil)
	ref := push(t, r, "hello", build(t, "over TLS"))
	_, err := open(t, persona.Config{}).Pull(t.Context(), ref, persona.PullOptions{})
	require.ErrorContains(t, err, "certificate signed by unknown authority")

	ca2, _ := authority(t)
	folder := strings.Replace(r.Host, ":", "_", 1) + "_"
	for name, files := range map[string]map[string]string{
		"hosts.toml":                {r.Host + "/hosts.toml": `ca = "ca.pem"`, r.Host + "/ca.pem": string(ca.PEM())},
		"several":                   {r.Host + "/hosts.toml": `ca = ["other.pem", "ca.pem"]`, r.Host + "/ca.pem": string(ca.PEM()), r.Host + "/other.pem": string(ca2.PEM())},
		"Docker's names":            {r.Host + "/any.crt": string(ca.PEM())},
		"a folder without a colon":  {folder + "/any.crt": string(ca.PEM())},
		"for all registries":        {"_default/hosts.toml": `ca = "ca.pem"`, "_default/ca.pem": string(ca.PEM())},
		"no verification":           {r.Host + "/hosts.toml": `skip_verify = true`},
		"the server by another URL": {r.Host + "/hosts.toml": fmt.Sprintf("server = \"https://%s\"\nca = \"ca.pem\"", strings.Replace(r.Host, "127.0.0.1", "localhost", 1)), r.Host + "/ca.pem": string(ca.PEM())},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, persona.Config{RegistryHostsDir: hostsDir(t, files)})
			img, err := s.Pull(t.Context(), ref, persona.PullOptions{})
			require.NoError(t, err)
			diskHolds(t, s, img, "over TLS")
		})
	}
	_, err = open(t, persona.Config{RegistryHostsDir: hostsDir(t, map[string]string{r.Host + "/ca.crt": string(ca2.PEM())})}).
		Pull(t.Context(), ref, persona.PullOptions{})
	require.ErrorContains(t, err, "certificate signed by unknown authority")
}

func TestReplacedAuthorityCountsAtTheNextPull(t *testing.T) {
	ca, config := authority(t)
	wrong, _ := authority(t)
	r := startTLSRegistry(t, config, nil)
	ref := push(t, r, "hello", build(t, "x"))
	dir := hostsDir(t, map[string]string{r.Host + "/ca.crt": string(wrong.PEM())})
	s := open(t, persona.Config{RegistryHostsDir: dir})
	_, err := s.Pull(t.Context(), ref, persona.PullOptions{})
	require.Error(t, err)
	path := filepath.Join(dir, r.Host, "ca.crt")
	require.NoError(t, os.WriteFile(path+".new", append(wrong.PEM(), ca.PEM()...), 0o600))
	require.NoError(t, os.Rename(path+".new", path))
	_, err = s.Pull(t.Context(), ref, persona.PullOptions{})
	require.NoError(t, err)
}

func TestClientCertificate(t *testing.T) {
	ca, config := authority(t)
	config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, ca.Pool()
	r := startTLSRegistry(t, config, nil)
	ref := push(t, r, "hello", build(t, "x"))
	cert, key, err := ca.Issue()
	require.NoError(t, err)
	base := map[string]string{"ca.pem": string(ca.PEM()), "c.cert": string(cert), "c.key": string(key), "both.pem": string(cert) + string(key)}
	for name, tt := range map[string]struct {
		hosts string
		works bool
	}{
		"none":               {`ca = "ca.pem"`, false},
		"a pair":             {"ca = \"ca.pem\"\nclient = [[\"c.cert\", \"c.key\"]]", true},
		"one file":           {"ca = \"ca.pem\"\nclient = \"both.pem\"", true},
		"a list":             {"ca = \"ca.pem\"\nclient = [\"both.pem\"]", true},
		"named as by Docker": {"", true},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{}
			for file, text := range base {
				files[r.Host+"/"+file] = text
			}
			if tt.hosts == "" {
				files[r.Host+"/ca.crt"] = string(ca.PEM())
			} else {
				files[r.Host+"/hosts.toml"] = tt.hosts
			}
			_, err := open(t, persona.Config{RegistryHostsDir: hostsDir(t, files)}).Pull(t.Context(), ref, persona.PullOptions{})
			require.Equal(t, tt.works, err == nil, "%v", err)
		})
	}
}

func TestMirrorsAreTriedInOrder(t *testing.T) {
	var log []string
	logged := func(name string) func(http.Handler) http.Handler {
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.URL.Path, "/manifests/") {
					log = append(log, name+" "+r.URL.Path+" ns="+r.URL.Query().Get("ns")+" "+r.Header.Get("X-Token")+r.Header.Get("Authorization"))
				}
				r.URL.Path = strings.Replace(r.URL.Path, "/prefix/v2/", "/v2/", 1)
				r.URL.Path = strings.Replace(r.URL.Path, "/v2/project/", "/v2/", 1)
				next.ServeHTTP(w, r)
			})
		}
	}
	first, second, onlyDigests := startRegistry(t, logged("first")), startRegistry(t, logged("second")), startRegistry(t, logged("digests"))
	origin := startRegistry(t, logged("origin"))
	built := build(t, "x")
	ref := push(t, origin, "team/hello:1", built)
	dir := hostsDir(t, map[string]string{origin.Host + "/hosts.toml": fmt.Sprintf(`
server = "http://%s"

[host."http://%s/prefix"]
  capabilities = ["pull", "resolve"]
  [host."http://%[2]s/prefix".header]
    X-Token = "abc"

[host."http://%s"]
  capabilities = ["pull"]

[host."http://%s/v2/project"]
  override_path = true
  dial_timeout = "5s"
`, origin.Host, first.Host, onlyDigests.Host, second.Host)})
	s := open(t, persona.Config{RegistryHostsDir: dir})
	auth := persona.PullOptions{Auth: []persona.Credentials{secretOf("a", "x")}}
	_, err := s.Pull(t.Context(), ref, auth)
	require.NoError(t, err)
	require.Equal(t, []string{
		"first /prefix/v2/team/hello/manifests/1 ns=" + origin.Host + " abc",
		"second /v2/project/team/hello/manifests/1 ns=" + origin.Host + " ",
	}, log[:2])
	require.Len(t, log, 3)
	require.Contains(t, log[2], "origin /v2/team/hello/manifests/1 ns=")

	log = nil
	push(t, onlyDigests, "team/hello:1", built)
	_, err = s.Pull(t.Context(), origin.Host+"/team/hello@"+digestOf(t, built), auth)
	require.NoError(t, err)
	require.Len(t, log, 2, "%v", log)
	require.Contains(t, log[1], "digests ")
}

func TestMirrorThatFailsIsPassedOver(t *testing.T) {
	broken := startRegistry(t, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "1000")
			w.WriteHeader(http.StatusServiceUnavailable)
		})
	})
	origin := startRegistry(t, nil)
	ref := push(t, origin, "hello", build(t, "x"))
	s := open(t, persona.Config{Mirrors: map[string]string{origin.Host: "http://" + broken.Host}})
	_, err := s.Pull(t.Context(), ref, persona.PullOptions{})
	require.NoError(t, err)
}

func TestConfiguredHTTPSIsNeverPlain(t *testing.T) {
	r := startRegistry(t, nil)
	ref := push(t, r, "hello", build(t, "x"))
	_, err := open(t, persona.Config{RegistryHostsDir: hostsDir(t, map[string]string{
		r.Host + "/hosts.toml": fmt.Sprintf("server = %q", "https://"+r.Host),
	})}).Pull(t.Context(), ref, persona.PullOptions{})
	require.Error(t, err)
}

func TestBadHostsFilesAreFoundAtTheStart(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"no TOML":         {"server", "expected"},
		"an unknown key":  {"sever = \"x\"", "sever: unknown key"},
		"a bad server":    {"server = \"ftp://x\"", `server "ftp://x": not an http or https URL`},
		"a bad host":      {"[host.\"https://u:p@x\"]", "not an http or https URL"},
		"a missing CA":    {"ca = \"nothing.pem\"", "nothing.pem"},
		"a CA of no PEM":  {"ca = \"hosts.toml\"", "holds no certificate"},
		"a bad CA":        {"ca = 7", "ca: want a string"},
		"a missing key":   {"client = [[\"a\", \"b\", \"c\"]]", "pair of certificate and key"},
		"a capability":    {"[host.\"https://x\"]\ncapabilities = [\"fly\"]", `capabilities: "fly"`},
		"a duration":      {"[host.\"https://x\"]\ndial_timeout = \"soon\"", `dial_timeout: "soon"`},
		"a bad header":    {"[header]\nX = 7", "header X"},
		"a list of other": {"ca = [7]", "ca: want strings"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := persona.Open(persona.Config{Dir: t.TempDir(), RegistryHostsDir: hostsDir(t, map[string]string{"reg.example/hosts.toml": tt.text})})
			require.ErrorContains(t, err, tt.want)
			require.ErrorContains(t, err, "reg.example/hosts.toml")
		})
	}
	_, err := persona.Open(persona.Config{Dir: t.TempDir(), RegistryHostsDir: filepath.Join(t.TempDir(), "nothing")})
	require.ErrorIs(t, err, os.ErrNotExist)
}
