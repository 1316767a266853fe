package imagecmd

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/compression"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/cmd/vic/internal/cli"
	"github.com/virtual-kubelet/vic/cmd/vic/internal/clitest"
	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/internal/ociimage"
	"github.com/virtual-kubelet/vic/internal/testregistry"
	"github.com/virtual-kubelet/vic/operations/images"
	"github.com/virtual-kubelet/vic/persona"
	"github.com/virtual-kubelet/vic/portlayer"
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
	serving, err := ca.ServerTLS()
	require.NoError(t, err)
	r, err := testregistry.StartTLS(t.Context(), serving, testregistry.TokenAuth("me", "secret"))
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
		return clitest.Execute(t, NewCommand(), append([]string{"pull", ref, "--dir", dir}, args...)...)
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
	bin, file := t.TempDir(), filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, `{apiVersion: kubelet.config.k8s.io/v1, kind: CredentialProviderConfig, providers: [
{name: login, matchImages: [%q], defaultCacheDuration: 1m, apiVersion: credentialprovider.kubelet.k8s.io/v1}]}`, r.Host), 0o600))
	login := func(script string) {
		require.NoError(t, os.WriteFile(filepath.Join(bin, "login"), []byte("#!/bin/sh\n"+script), 0o700))
	}
	pull := func() (string, error) {
		return clitest.Execute(t, NewCommand(), "pull", r.push(t, "app:1", "x"), "--dir", t.TempDir(), "--registry-hosts-dir", r.hostsDir,
			"--image-credential-provider-config", file, "--image-credential-provider-bin-dir", bin)
	}
	_, err := pull()
	require.ErrorContains(t, err, `--image-credential-provider-config: `+file+`: providers[0] "login"`)
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
		_, err := clitest.Execute(t, NewCommand(), "pull", "r.example/app", "--dir", filepath.Join(t.TempDir(), "d"), "--authfile", path)
		var misuse *cli.MisuseError
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
		out, err := clitest.Execute(t, NewCommand(), append(args, "--dir", dir)...)
		require.NoError(t, err)
		return out
	}
	pull := func(ref string) {
		vic("pull", ref, "--quiet", "--registry-hosts-dir", r.hostsDir, "--authfile", r.authFile)
	}
	pull(r.push(t, "app:1", "old"))
	tagged := r.push(t, "app:1", "new")
	pull(tagged)

	untagged := `app@sha256:\w{64} \(sha256:\w{64}, 1 MiB\)\n`
	require.Regexp(t, `^would remove \S+/`+untagged+`would free 0\.\d MiB\n$`, vic("prune", "--dry-run"))
	require.Regexp(t, `^removed \S+/`+untagged+`freed 0\.\d MiB\n$`, vic("prune"))
	require.Equal(t, "freed 0.0 MiB\n", vic("prune"))
	require.Contains(t, vic("ls"), tagged)
	require.Regexp(t, `^would remove `+tagged, vic("prune", "-a", "--dry-run"))
	require.Regexp(t, `^removed `+tagged, vic("prune", "-a"))
	require.NotContains(t, vic("ls"), tagged)
}

func TestImagesOfPodsElsewhereAreInUse(t *testing.T) {
	state := clitest.NewState(t)
	flags := imageFlags{settings: cli.NewSettings(nil, &config.Node{Dir: state.Path})}
	state.PutVM(clitest.PodVM("n", "here", "here"))
	for _, uid := range []string{"here", "elsewhere"} {
		require.NoError(t, state.Run(uid).SaveVM(portlayer.VM{Spec: clitest.PodVM("n", uid, uid)}))
	}
	require.NoError(t, state.Run("unseen").SaveRecord([]byte("{}")))

	vms, err := flags.podVMs()
	require.NoError(t, err)
	var uids []string
	for _, vm := range vms {
		uids = append(uids, vm.ID())
	}
	require.Equal(t, []string{"here", "elsewhere"}, uids)
}

func TestNameOfSeveralMayGoWhileTheImageIsInUse(t *testing.T) {
	img := persona.Image{Names: []string{"hello:1", "hello:2"}, ID: "sha256:0123"}
	require.True(t, hasAnotherName(img, "docker.io/library/hello:1"))
	require.False(t, hasAnotherName(img, "sha256:0123"))
	img.Names = img.Names[:1]
	require.False(t, hasAnotherName(img, "hello:1"))
}

func TestUsersAreNamed(t *testing.T) {
	users := []portlayer.Owner{{Namespace: "n", Name: "a"}, {Namespace: "n", Name: "b"}, {Namespace: "n", Name: "c"}}
	require.Equal(t, "pod n/a", describeUsers(users[:1]))
	require.Equal(t, "pod n/a and another", describeUsers(users[:2]))
	require.Equal(t, "pod n/a and 2 others", describeUsers(users))
}

func TestImagesAreListedForPeopleAndScripts(t *testing.T) {
	created := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	stored := []persona.Image{
		{Names: []string{"hello:1", "hello:2"}, ID: "sha256:0123456789abcdef", DiskBytes: 3<<20 + 1, Created: created},
		{RepoDigests: []string{"app@sha256:aa"}, ID: "sha256:02", DiskBytes: 1 << 20, Created: created},
		{ID: "sha256:03", Created: created},
	}
	var out bytes.Buffer
	require.NoError(t, printImages(&out, cli.OutputTable, stored))
	require.Equal(t, `NAME              IMAGE ID      DISK  CREATED
hello:1, hello:2  0123456789ab  4Mi   2026-01-02
app@sha256:aa     02            1Mi   2026-01-02
<none>            03            0Mi   2026-01-02
`, out.String())
	out.Reset()
	require.NoError(t, printImages(&out, cli.OutputJSON, nil))
	require.JSONEq(t, "[]", out.String())
}

// image is a state directory with one image, app:1 of a registry.
func image(t *testing.T) (s clitest.State, ref string, img persona.Image) {
	t.Helper()
	r := startPrivateRegistry(t)
	s, ref = clitest.NewState(t), r.push(t, "app:1", "x")
	_, err := vic(t, s, "pull", ref, "--quiet", "--registry-hosts-dir", r.hostsDir, "--authfile", r.authFile)
	require.NoError(t, err)
	store, err := persona.Open(persona.Config{Dir: s.Images()})
	require.NoError(t, err)
	img, err = store.Lookup(ref)
	require.NoError(t, err)
	return s, ref, img
}

// vic runs `vic image` on a state directory.
func vic(t *testing.T, s clitest.State, args ...string) (string, error) {
	t.Helper()
	return clitest.Execute(t, NewCommand(), append(args, "--dir", s.Path)...)
}

func TestAnImageThatAPodHasIsNotRemoved(t *testing.T) {
	s, ref, img := image(t)
	spec := clitest.PodVM("n", "p", "u")
	spec.Disks = []portlayer.Disk{{Kind: portlayer.DiskImage, Serial: images.DiskSerial(img)}}
	require.NoError(t, s.Run("u").SaveVM(portlayer.VM{Spec: spec}))

	_, err := vic(t, s, "rm", ref)
	require.ErrorContains(t, err, "is in use by pod n/p (--force removes it all the same)")
	out, err := vic(t, s, "prune", "--all")
	require.NoError(t, err)
	require.Equal(t, "freed 0.0 MiB\n", out)
	_, err = vic(t, s, "rm", ref, "--force")
	require.NoError(t, err)
	_, err = vic(t, s, "rm", ref)
	require.ErrorContains(t, err, ref)
}

func TestAnImageIsRemovedByItsNameOrItsID(t *testing.T) {
	for _, by := range []func(ref string, img persona.Image) string{
		func(ref string, _ persona.Image) string { return ref },
		func(_ string, img persona.Image) string { return img.ID },
		func(_ string, img persona.Image) string { return shortID(img.ID) },
	} {
		s, ref, img := image(t)
		_, err := vic(t, s, "rm", by(ref, img), "none:1")
		require.ErrorContains(t, err, "none:1", "what fails is named, and the others go")
		out, err := vic(t, s, "ls", "-o", "json")
		require.NoError(t, err)
		require.JSONEq(t, "[]", out)
	}
}

func TestImagesAreImportedFromAnArchive(t *testing.T) {
	img, err := ociimage.Build(ociimage.Spec{
		Layers: [][]ociimage.File{{{Name: "/f", Content: []byte("x")}}}, Config: v1.Config{Cmd: []string{"/f"}},
	})
	require.NoError(t, err)
	archive := filepath.Join(t.TempDir(), "app.tar")
	require.NoError(t, ociimage.WriteDockerSave(img, "app:1", archive))
	s := clitest.NewState(t)
	out, err := vic(t, s, "import", archive)
	require.NoError(t, err)
	require.Regexp(t, `^imported app:1 \(sha256:\w{64}, 1 MiB\)\n$`, out)
	out, err = vic(t, s, "import", archive, "other:2")
	require.NoError(t, err)
	require.Contains(t, out, "other:2", "under the name that was given")
	_, err = vic(t, s, "import", archive, "--image-limit", "entries=1")
	require.ErrorContains(t, err, "image too large: archive of more than 1 files", "a limit holds")
	_, err = vic(t, s, "import", filepath.Join(t.TempDir(), "none.tar"))
	require.ErrorIs(t, err, os.ErrNotExist)
}
