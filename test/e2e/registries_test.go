//go:build e2e

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtual-kubelet/vic/internal/ociimage"
	"github.com/virtual-kubelet/vic/internal/testregistry"
)

// providedHost is the registry for whose images the shared cluster asks a program for credentials.
const providedHost = "provided.test"

// registrySettings are what the shared cluster knows of registries: a directory as containerd's certs.d, which is read at
// each pull, and one of a program that says what is in the file answer.
type registrySettings struct{ hosts, programs string }

var registries registrySettings

func makeRegistrySettings(dir string) (registrySettings, error) {
	s := registrySettings{filepath.Join(dir, "hosts"), filepath.Join(dir, "programs")}
	for _, d := range []string{s.hosts, s.programs} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return s, err
		}
	}
	program := fmt.Sprintf("#!/bin/sh\nexec cat %s/answer\n", s.programs)
	if err := os.WriteFile(filepath.Join(s.programs, "login"), []byte(program), 0o700); err != nil {
		return s, err
	}
	config := fmt.Sprintf(`{apiVersion: kubelet.config.k8s.io/v1, kind: CredentialProviderConfig, providers: [
{name: login, matchImages: [%s], defaultCacheDuration: 1m, apiVersion: credentialprovider.kubelet.k8s.io/v1}]}`, providedHost)
	return s, os.WriteFile(filepath.Join(s.programs, "config.yaml"), []byte(config), 0o600)
}

// args are the flags that say so.
func (s registrySettings) args() []string {
	return []string{
		"--registry-hosts-dir", s.hosts, "--insecure-registry", "127.0.0.1", // the tests' registries without TLS
		"--image-credential-provider-config", filepath.Join(s.programs, "config.yaml"), "--image-credential-provider-bin-dir", s.programs,
	}
}

// trust has images of a registry's name come from a server with TLS, and trusts the authority.
func (s registrySettings) trust(t *testing.T, name, server string, ca *testregistry.Authority) {
	t.Helper()
	dir := filepath.Join(s.hosts, name)
	require.NoError(t, os.Mkdir(dir, 0o700))
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ca.pem"), ca.PEM(), 0o600))
	hosts := fmt.Sprintf("server = \"https://%s\"\nca = \"ca.pem\"\n", server)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "hosts.toml"), []byte(hosts), 0o600))
}

// answer is what the program says from now on.
func (s registrySettings) answer(t *testing.T, user, password string) {
	t.Helper()
	text := fmt.Sprintf(`{"apiVersion":"credentialprovider.kubelet.k8s.io/v1","kind":"CredentialProviderResponse",`+
		`"cacheKeyType":"Image","auth":{%q:{"username":%q,"password":%q}}}`, providedHost, user, password)
	require.NoError(t, os.WriteFile(filepath.Join(s.programs, "answer"), []byte(text), 0o600))
}

// privateRegistry starts a registry on loopback with a certificate that only the shared cluster trusts, also by those names.
func privateRegistry(t *testing.T, wrap func(http.Handler) http.Handler, names ...string) *testregistry.Registry {
	t.Helper()
	ca, err := testregistry.NewAuthority()
	require.NoError(t, err)
	config, err := ca.ServerTLS()
	require.NoError(t, err)
	r, err := testregistry.StartTLS(context.Background(), config, wrap)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	for _, name := range append(names, r.Host) {
		registries.trust(t, name, r.Host, ca)
	}
	return r
}

func push(t *testing.T, r *testregistry.Registry, repo string, img v1.Image) string {
	t.Helper()
	ref, err := r.Push(t.Context(), repo, img)
	require.NoError(t, err)
	return ref
}

// pullSecret makes a secret as kubectl create secret docker-registry does.
func (c *cluster) pullSecret(t *testing.T, namespace, name, host, password string) {
	t.Helper()
	c.kubectl(t, "-n", namespace, "create", "secret", "docker-registry", name,
		"--docker-server", host, "--docker-username", "me", "--docker-password", password)
}

// image is a container of that image which ends at once.
func image(name, ref string) corev1.Container {
	return corev1.Container{
		Name: name, Image: ref, ImagePullPolicy: corev1.PullIfNotPresent, Command: []string{"/bin/sh", "-c", "echo " + name},
	}
}

// imagePod is a pod of such containers.
func imagePod(namespace, name string, containers ...corev1.Container) *corev1.Pod {
	return pod(namespace, name, "", restart(corev1.RestartPolicyNever), func(p *corev1.Pod) { p.Spec.Containers = containers })
}

// eventsOf are the events of a container, as reason: message, in the order in which they came first.
func (c *cluster) eventsOf(t *testing.T, p *corev1.Pod, container string) []string {
	t.Helper()
	list, err := c.client.CoreV1().Events(p.Namespace).List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.uid=" + string(p.UID)})
	require.NoError(t, err)
	var all []string
	for _, e := range list.Items {
		if e.InvolvedObject.FieldPath == "spec.containers{"+container+"}" {
			all = append(all, e.Reason+": "+e.Message)
		}
	}
	return all
}

// awaitEvents waits until the container has events that begin so.
func (c *cluster) awaitEvents(t *testing.T, p *corev1.Pod, container string, want ...string) {
	t.Helper()
	for _, prefix := range want {
		c.eventually(t, prefix, func(context.Context) (bool, string) {
			all := c.eventsOf(t, p, container)
			for _, event := range all {
				if strings.HasPrefix(event, prefix) {
					return true, ""
				}
			}
			return false, strings.Join(all, "\n")
		})
	}
}

// manifests notes when manifests are asked for.
type manifests struct {
	mu sync.Mutex // guards at
	at []time.Time
}

func (m *manifests) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/manifests/") {
			m.mu.Lock()
			m.at = append(m.at, time.Now())
			m.mu.Unlock()
		}
		next.ServeHTTP(w, r)
	})
}

// gaps are the times between requests.
func (m *manifests) gaps() []time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []time.Duration
	for i := 1; i < len(m.at); i++ {
		all = append(all, m.at[i].Sub(m.at[i-1]))
	}
	return all
}

// dripping sends half of every large blob, and then a byte a second until release is closed.
func dripping(release <-chan struct{}) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(&drip{w, release, 0}, r)
		})
	}
}

type drip struct {
	http.ResponseWriter
	release <-chan struct{}
	sent    int
}

func (d *drip) Write(p []byte) (int, error) {
	const from = 1 << 20
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for i := range p {
		if d.sent >= from {
			select {
			case <-d.release:
				n, err := d.ResponseWriter.Write(p[i:])
				return i + n, err
			case <-tick.C:
			}
		}
		if _, err := d.ResponseWriter.Write(p[i : i+1]); err != nil {
			return i, err
		}
		if d.sent++; d.sent >= from {
			d.ResponseWriter.(http.Flusher).Flush()
		}
	}
	return len(p), nil
}

func TestImagesOfPrivateRegistries(t *testing.T) {
	t.Parallel()
	ns := shared.namespace(t)
	basic := privateRegistry(t, testregistry.BasicAuth("me", "basic"), providedHost)
	token := privateRegistry(t, testregistry.TokenAuth("me", "token"))
	shared.pullSecret(t, ns, "basic", basic.Host, "basic")
	shared.pullSecret(t, ns, "token", token.Host, "token")
	shared.kubectl(t, "-n", ns, "create", "serviceaccount", "puller")
	shared.kubectl(t, "-n", ns, "patch", "serviceaccount", "puller", "-p", `{"imagePullSecrets":[{"name":"token"}]}`)
	registries.answer(t, "me", "basic")

	basicImage, tokenImage := push(t, basic, "team/app:1", builtImage), push(t, token, "team/app:1", builtImage)
	push(t, basic, "provided/app:1", builtImage)
	hostile, err := ociimage.Build(ociimage.Spec{Layers: [][]ociimage.File{{{Name: "../evil"}}}})
	require.NoError(t, err)
	hostileImage := push(t, basic, "hostile:1", hostile)

	ofPod := imagePod(ns, "of-pod", image("basic", basicImage), image("provided", providedHost+"/provided/app:1"))
	ofPod.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "basic"}}
	ofAccount := imagePod(ns, "of-account", image("token", tokenImage))
	ofAccount.Spec.ServiceAccountName = "puller"
	refused := imagePod(ns, "refused", image("token", tokenImage), image("hostile", hostileImage))
	refused.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "absent"}, {Name: "basic"}}
	for _, p := range []**corev1.Pod{&ofPod, &ofAccount, &refused} {
		*p = shared.create(t, *p)
	}

	t.Run("without a secret", func(t *testing.T) {
		shared.awaitEvents(t, refused, "token", fmt.Sprintf("Pulling: Pulling image %q", tokenImage),
			fmt.Sprintf("Failed: Failed to pull image %q: registry refused access", tokenImage),
			"Failed: Error: ErrImagePull", fmt.Sprintf("BackOff: Back-off pulling image %q", tokenImage), "Failed: Error: ImagePullBackOff")
		out := shared.kubectl(t, "-n", ns, "get", "events", "--field-selector", "reason=FailedToRetrieveImagePullSecret")
		assert.Contains(t, out, "Unable to retrieve some image pull secrets (absent)")
		waiting := shared.waitPod(t, refused, "backs off", func(p *corev1.Pod) bool {
			return p.Status.ContainerStatuses[0].State.Waiting.Reason == "ImagePullBackOff"
		}).Status.ContainerStatuses[0].State.Waiting
		assert.Contains(t, waiting.Message, fmt.Sprintf("Back-off pulling image %q: ErrImagePull: ", tokenImage))
	})
	t.Run("a hostile image", func(t *testing.T) {
		shared.awaitEvents(t, refused, "hostile", fmt.Sprintf("Failed: Failed to pull image %q: ", hostileImage))
		for _, event := range shared.eventsOf(t, refused, "hostile") {
			if strings.HasPrefix(event, "Failed: Failed to pull") {
				assert.Regexp(t, `layer sha256:\w{64}.*"\.\./`, event, "the layer and the entry are named")
				assert.Less(t, len(event), 500)
			}
		}
	})
	for name, p := range map[string]*corev1.Pod{"secrets of the pod, and a program": ofPod, "secrets of the service account": ofAccount} {
		t.Run(name, func(t *testing.T) {
			shared.waitPhase(t, p, corev1.PodSucceeded)
			for _, c := range p.Spec.Containers {
				all := strings.Join(shared.eventsOf(t, p, c.Name), "\n")
				assert.Contains(t, all, fmt.Sprintf("Pulling: Pulling image %q", c.Image))
				assert.Regexp(t, fmt.Sprintf(`Pulled: Successfully pulled image %q in \S+s \(\S+s including waiting\). Image size: \d{6,} bytes.`, c.Image), all)
			}
		})
	}
	assert.Equal(t, "Pending", string(shared.waitPod(t, refused, "is there", func(*corev1.Pod) bool { return true }).Status.Phase),
		"what a secret has brought is for those who have one")
}

func TestPullsBackOffAndGoOn(t *testing.T) {
	t.Parallel()
	ns := shared.namespace(t)
	var asked manifests
	r := privateRegistry(t, func(next http.Handler) http.Handler { return asked.wrap(testregistry.BasicAuth("me", "right")(next)) })
	release := make(chan struct{})
	slow := privateRegistry(t, dripping(release))
	more, err := random.Layer(2<<20, types.DockerLayer)
	require.NoError(t, err)
	large, err := mutate.AppendLayers(builtImage, more)
	require.NoError(t, err)

	shared.pullSecret(t, ns, "mended", r.Host, "wrong")
	mended, long := push(t, r, "app:1", builtImage), push(t, slow, "app:1", large)
	p := imagePod(ns, "mended", image("mended", mended), image("slow", long))
	p.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "mended"}}
	p = shared.create(t, p)

	shared.eventually(t, "the second try", func(context.Context) (bool, string) { return len(asked.gaps()) == 1, "" })
	shared.kubectl(t, "-n", ns, "patch", "secret", "mended", "-p", `{"stringData":{".dockerconfigjson":`+dockerConfig(t, r.Host, "right")+`}}`)
	shared.awaitEvents(t, p, "mended", "Pulled: Successfully pulled image")
	gaps := asked.gaps()
	require.Len(t, gaps, 2)
	for i, want := range []time.Duration{10 * time.Second, 20 * time.Second} {
		assert.GreaterOrEqual(t, gaps[i], want, "the kubelet's times")
	}
	shared.awaitEvents(t, p, "slow", fmt.Sprintf("PullProgress: Pulling image %q: ", long))
	assert.Regexp(t, `PullProgress: .*: 1 of \d+ MiB, layer 1 of 2`, strings.Join(shared.eventsOf(t, p, "slow"), "\n"))
	close(release)
	shared.waitPhase(t, p, corev1.PodSucceeded)
}

// dockerConfig is what such a secret holds, as a string in JSON.
func dockerConfig(t *testing.T, host, password string) string {
	t.Helper()
	inner, err := json.Marshal(map[string]any{"auths": map[string]any{host: map[string]string{"username": "me", "password": password}}})
	require.NoError(t, err)
	outer, err := json.Marshal(string(inner))
	require.NoError(t, err)
	return string(outer)
}
