package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/compression"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/internal/ociimage"
	"github.com/virtual-kubelet/vic/internal/testregistry"
	"github.com/virtual-kubelet/vic/node/statedir"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm/rundir"
)

// privateRegistry is a registry with TLS of an authority of its own that wants a password.
type privateRegistry struct {
	*testregistry.Registry
	hostsDir, authFile string
}

func startPrivateRegistry(t *testing.T) privateRegistry {
	t.Helper()
	ca, err := testregistry.NewAuthority()
	require.NoError(t, err)
	config, err := ca.ServerTLS()
	require.NoError(t, err)
	r, err := testregistry.StartTLS(t.Context(), config, testregistry.TokenAuth("me", "secret"))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, r.Close()) })
	p := privateRegistry{r, t.TempDir(), filepath.Join(t.TempDir(), "config.json")}
	require.NoError(t, os.Mkdir(filepath.Join(p.hostsDir, r.Host), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(p.hostsDir, r.Host, "ca.crt"), ca.PEM(), 0o600))
	p.writeAuth(t, "secret")
	return p
}

func (p privateRegistry) writeAuth(t *testing.T, password string) {
	t.Helper()
	auth := base64.StdEncoding.EncodeToString([]byte("me:" + password))
	require.NoError(t, os.WriteFile(p.authFile, fmt.Appendf(nil, `{"auths":{%q:{"auth":%q}}}`, p.Host, auth), 0o600))
}

// push pushes an image that holds content, and returns its name.
func (p privateRegistry) push(t *testing.T, repo, content string) string {
	t.Helper()
	img, err := ociimage.Build(ociimage.Spec{
		Layers: [][]ociimage.File{{{Name: "/f", Content: []byte(content)}}}, Compression: compression.GZip,
		Config: v1.Config{Cmd: []string{"/f"}},
	})
	require.NoError(t, err)
	ref, err := p.Push(context.Background(), repo, img)
	require.NoError(t, err)
	return ref
}

func TestImagePullWithAnAuthorityAndCredentials(t *testing.T) {
	r := startPrivateRegistry(t)
	ref := r.push(t, "team/app:1", "x")
	dir := t.TempDir()
	pull := func(args ...string) (string, error) {
		return execute(t, append([]string{"image", "pull", ref, "--dir", dir}, args...)...)
	}
	_, err := pull()
	require.ErrorContains(t, err, "certificate signed by unknown authority")
	_, err = pull("--registry-hosts-dir", r.hostsDir)
	require.ErrorContains(t, err, "registry refused access")
	r.writeAuth(t, "wrong")
	_, err = pull("--registry-hosts-dir", r.hostsDir, "--authfile", r.authFile)
	require.ErrorContains(t, err, "registry refused access")
	require.NotContains(t, err.Error(), "wrong")

	r.writeAuth(t, "secret")
	out, err := pull("--registry-hosts-dir", r.hostsDir, "--authfile", r.authFile)
	require.NoError(t, err)
	require.Regexp(t, `^layer 1 of 1, 0\.0 MiB of 0\.0 MiB \(\d+ %\)\n(.*\n)*pulled `+ref+` \(sha256:\w{64}, 1 MiB\)\n$`, out)
	out, err = pull("--registry-hosts-dir", r.hostsDir, "--authfile", r.authFile, "--quiet")
	require.NoError(t, err)
	require.Regexp(t, `^pulled `, out)
}

func TestImagePullWithACredentialProvider(t *testing.T) {
	r := startPrivateRegistry(t)
	bin, config := t.TempDir(), filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `{apiVersion: kubelet.config.k8s.io/v1, kind: CredentialProviderConfig, providers: [
{name: login, matchImages: [%q], defaultCacheDuration: 1m, apiVersion: credentialprovider.kubelet.k8s.io/v1}]}`, r.Host), 0o600))
	login := func(script string) {
		require.NoError(t, os.WriteFile(filepath.Join(bin, "login"), []byte("#!/bin/sh\n"+script), 0o700))
	}
	pull := func() (string, error) {
		return execute(t, "image", "pull", r.push(t, "app:1", "x"), "--dir", t.TempDir(), "--registry-hosts-dir", r.hostsDir,
			"--image-credential-provider-config", config, "--image-credential-provider-bin-dir", bin)
	}
	_, err := pull()
	require.ErrorContains(t, err, `--image-credential-provider-config: `+config+`: providers[0] "login"`)
	login("echo no login >&2; exit 1")
	_, err = pull()
	require.ErrorContains(t, err, "credential provider login, image "+r.Host+"/app: exit status 1: no login")
	login(fmt.Sprintf(`echo '{"apiVersion":"credentialprovider.kubelet.k8s.io/v1","kind":"CredentialProviderResponse",`+
		`"cacheKeyType":"Image","auth":{%q:{"username":"me","password":"secret"}}}'`, r.Host))
	out, err := pull()
	require.NoError(t, err)
	require.Contains(t, out, "pulled "+r.Host+"/app:1")
}

func TestBadAuthfileIsRefusedAndNotQuoted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"auths":{"r.example":{"auth":"hunter2"}}}`), 0o600))
	for path, says := range map[string]string{file: "r.example", file + ".none": "no such file"} {
		_, err := execute(t, "image", "pull", "r.example/app", "--dir", filepath.Join(t.TempDir(), "d"), "--authfile", path)
		var misuse *usageError
		require.ErrorAs(t, err, &misuse)
		require.ErrorContains(t, err, "--authfile")
		require.ErrorContains(t, err, says)
		require.NotContains(t, err.Error(), "hunter2")
	}
}

func TestImagePrune(t *testing.T) {
	r := startPrivateRegistry(t)
	dir := t.TempDir()
	vic := func(args ...string) string {
		out, err := execute(t, append(args, "--dir", dir)...)
		require.NoError(t, err)
		return out
	}
	pull := func(ref string) {
		vic("image", "pull", ref, "--quiet", "--registry-hosts-dir", r.hostsDir, "--authfile", r.authFile)
	}
	pull(r.push(t, "app:1", "old"))
	tagged := r.push(t, "app:1", "new")
	pull(tagged)

	untagged := `app@sha256:\w{64} \(sha256:\w{64}, 1 MiB\)\n`
	require.Regexp(t, `^would remove \S+/`+untagged+`would free 0\.\d MiB\n$`, vic("image", "prune", "--dry-run"))
	require.Regexp(t, `^removed \S+/`+untagged+`freed 0\.\d MiB\n$`, vic("image", "prune"))
	require.Equal(t, "freed 0.0 MiB\n", vic("image", "prune"))
	require.Contains(t, vic("image", "ls"), tagged)
	require.Regexp(t, `^would remove `+tagged, vic("image", "prune", "-a", "--dry-run"))
	require.Regexp(t, `^removed `+tagged, vic("image", "prune", "-a"))
	require.NotContains(t, vic("image", "ls"), tagged)
}

func TestImagesOfPodsElsewhereAreInUse(t *testing.T) {
	flags := imageFlags{dir: t.TempDir()}
	state, err := statedir.At(flags.dir)
	require.NoError(t, err)
	putVM(t, state.VCH(), "here")
	runs, err := rundir.Open(rundir.Config{Root: state.Runs()})
	require.NoError(t, err)
	for _, uid := range []string{"here", "elsewhere"} {
		records, err := runs.Dir(uid)
		require.NoError(t, err)
		require.NoError(t, records.SaveVM(portlayer.VM{Spec: portlayer.Spec{ID: uid, Owner: portlayer.Owner{Kind: "Pod", UID: uid}}}))
	}
	unseen, err := runs.Dir("unseen")
	require.NoError(t, err)
	require.NoError(t, unseen.SaveRecord([]byte("{}")))

	vms, err := flags.podVMs()
	require.NoError(t, err)
	var uids []string
	for _, vm := range vms {
		uids = append(uids, vm.ID())
	}
	require.Equal(t, []string{"here", "elsewhere"}, uids)
}
