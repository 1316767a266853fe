package persona_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/match"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/internal/ociimage"
	"github.com/virtual-kubelet/vic/persona"
	"github.com/virtual-kubelet/vic/persona/flatten"
)

func TestImportTakesEveryForm(t *testing.T) {
	tests := map[string]func(t *testing.T, img v1.Image) string{
		"an archive of docker save": func(t *testing.T, img v1.Image) string {
			t.Helper()
			return dockerSave(t, img, "hello")
		},
		"a compressed archive of docker save": func(t *testing.T, img v1.Image) string {
			t.Helper()
			return compress(t, dockerSave(t, img, "hello"))
		},
		"an OCI layout": func(t *testing.T, img v1.Image) string {
			t.Helper()
			return ociLayout(t, img, "hello:latest")
		},
		"an archive of an OCI layout": func(t *testing.T, img v1.Image) string {
			t.Helper()
			path := filepath.Join(t.TempDir(), "layout.tar")
			out, err := exec.CommandContext(t.Context(), "tar", "-cf", path, "-C", ociLayout(t, img, "hello:latest"), ".").CombinedOutput()
			require.NoError(t, err, "%s", out)
			return path
		},
	}
	for name, write := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, persona.Config{Dir: dir})
			img, err := s.Import(t.Context(), write(t, build(t, "hello there")), "")
			require.NoError(t, err)
			require.Equal(t, []string{"hello:latest"}, img.Names)
			diskHolds(t, s, img, "hello there")
			requireClean(t, dir, 1)

			found, err := s.Lookup("docker.io/library/hello")
			require.NoError(t, err)
			require.Equal(t, img, found)
		})
	}
}

func TestImportKeepsHowToRunTheImage(t *testing.T) {
	img, err := open(t, persona.Config{}).Import(t.Context(), dockerSave(t, build(t, "x"), "hello"), "")
	require.NoError(t, err)
	require.Equal(t, persona.ImageConfig{
		Entrypoint: []string{"/bin/sh"}, Cmd: []string{"-c", "x"}, Env: []string{"A=b"}, User: "1000:1000", WorkingDir: "/etc",
		StopSignal: "SIGINT", ExposedPorts: []string{"443/tcp", "80/tcp"}, Volumes: []string{"/data"},
	}, img.Config)
	require.Equal(t, "linux/amd64", img.Platform)
}

func TestImportGivesTheNameThatIsAskedFor(t *testing.T) {
	s := open(t, persona.Config{})
	img, err := s.Import(t.Context(), dockerSave(t, build(t, "x"), "hello"), "example.org/team/app:1")
	require.NoError(t, err)
	require.Equal(t, []string{"example.org/team/app:1"}, img.Names)
}

func TestImportOfALayoutWithoutNamesNeedsOne(t *testing.T) {
	s := open(t, persona.Config{})
	path := ociLayout(t, build(t, "x"), "")
	_, err := s.Import(t.Context(), path, "")
	require.ErrorIs(t, err, persona.ErrInvalidName)
	_, err = s.Import(t.Context(), path, "app")
	require.NoError(t, err)
}

func TestImportOfSeveralImagesTakesTheNamedOne(t *testing.T) {
	s := open(t, persona.Config{})
	path := ociLayout(t, build(t, "one"), "one:latest")
	l, err := layout.FromPath(path)
	require.NoError(t, err)
	require.NoError(t, l.AppendImage(build(t, "two"), layout.WithAnnotations(map[string]string{"io.containerd.image.name": "docker.io/library/two:latest"})))

	_, err = s.Import(t.Context(), path, "")
	require.ErrorContains(t, err, "one:latest two:latest")
	img, err := s.Import(t.Context(), path, "two")
	require.NoError(t, err)
	diskHolds(t, s, img, "two")
}

func TestImportOfALayoutWithDamagedBlobsLeavesNothing(t *testing.T) {
	path := ociLayout(t, build(t, "x"), "hello:latest")
	blobs, err := filepath.Glob(filepath.Join(path, "blobs/sha256/*"))
	require.NoError(t, err)
	require.Len(t, blobs, 3, "manifest, configuration and layer")
	for _, blob := range blobs {
		good, err := os.ReadFile(blob)
		require.NoError(t, err)
		for name, bad := range map[string][]byte{
			"changed": append(bytes.Clone(good[:len(good)-1]), good[len(good)-1]^1),
			"cut":     good[:len(good)/2],
			"longer":  append(bytes.Clone(good), 'x'),
		} {
			t.Run(name+" "+filepath.Base(blob)[:8], func(t *testing.T) {
				require.NoError(t, os.WriteFile(blob, bad, 0o600))
				dir := t.TempDir()
				_, err := open(t, persona.Config{Dir: dir}).Import(t.Context(), path, "")
				require.ErrorIs(t, err, persona.ErrDigestMismatch)
				requireClean(t, dir, 0)
			})
		}
		require.NoError(t, os.WriteFile(blob, good, 0o600))
	}
}

func TestImportOfADamagedArchiveLeavesNothing(t *testing.T) {
	archive := dockerSave(t, build(t, "hello there"), "hello")
	good, err := os.ReadFile(archive)
	require.NoError(t, err)
	tests := map[string]struct {
		content []byte
		want    error
	}{
		"a layer that is not the configuration's": {bytes.Replace(good, []byte("hello there\x00"), []byte("hello world\x00"), 1), persona.ErrDigestMismatch},
		"another configuration than its name":     {bytes.Replace(good, []byte("SIGINT"), []byte("SIGHUP"), 1), persona.ErrDigestMismatch},
		"half an archive":                         {good[:len(good)/3], persona.ErrInvalidImage},
		"no archive":                              {[]byte(strings.Repeat("no archive\n", 100)), persona.ErrInvalidImage},
		"an empty file":                           {nil, persona.ErrInvalidImage},
		"a broken compressed archive":             {[]byte("\x1f\x8bbroken"), persona.ErrInvalidImage},
		"an archive of something else":            {tarOf(t, "readme.txt", "hello"), persona.ErrInvalidImage},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			require.NotEqual(t, good, tt.content)
			path := filepath.Join(t.TempDir(), "image.tar")
			require.NoError(t, os.WriteFile(path, tt.content, 0o600))
			dir := t.TempDir()
			_, err := open(t, persona.Config{Dir: dir}).Import(t.Context(), path, "hello")
			require.ErrorIs(t, err, tt.want)
			requireClean(t, dir, 0)
		})
	}
}

func TestImportRefusesBadInput(t *testing.T) {
	s := open(t, persona.Config{})
	_, err := s.Import(t.Context(), filepath.Join(t.TempDir(), "nothing"), "hello")
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = s.Import(t.Context(), dockerSave(t, build(t, "x"), "hello"), "Bad Name")
	require.ErrorIs(t, err, persona.ErrInvalidName)
	require.ErrorContains(t, err, `"Bad Name"`)
}

func TestImportRefusesAnotherPlatform(t *testing.T) {
	for _, p := range []v1.Platform{{OS: "linux", Architecture: "arm64"}, {OS: "windows", Architecture: "amd64"}} {
		dir := t.TempDir()
		img := build(t, "x", func(s *ociimage.Spec) { s.Platform = &p })
		_, err := open(t, persona.Config{Dir: dir}).Import(t.Context(), dockerSave(t, img, "hello"), "")
		require.ErrorIs(t, err, persona.ErrPlatform)
		require.ErrorContains(t, err, "want linux/amd64, found "+p.OS+"/"+p.Architecture)
		requireClean(t, dir, 0)
	}
}

func TestImportKeepsWithinItsLimits(t *testing.T) {
	big := dockerSave(t, build(t, "x", func(s *ociimage.Spec) { s.Layers[0][0].Content = make([]byte, 1<<20) }), "hello")
	tests := map[string]persona.Config{
		"bytes":   {Limits: persona.Limits{Files: flatten.Limits{Bytes: 1 << 19}}},
		"entries": {Limits: persona.Limits{Files: flatten.Limits{Entries: 1}}},
	}
	for name, cfg := range tests {
		for _, path := range []string{big, compress(t, big)} {
			t.Run(name+" "+filepath.Ext(path), func(t *testing.T) {
				cfg.Dir = t.TempDir()
				_, err := open(t, cfg).Import(t.Context(), path, "")
				require.ErrorIs(t, err, persona.ErrTooLarge)
				requireClean(t, cfg.Dir, 0)
			})
		}
	}
}

func ociLayout(t *testing.T, img v1.Image, name string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, ociimage.WriteLayout(img, name, dir))
	if name == "" {
		l, err := layout.FromPath(dir)
		require.NoError(t, err)
		require.NoError(t, l.ReplaceImage(img, match.Digests(mustDigest(t, img))))
	}
	return dir
}

func mustDigest(t *testing.T, img v1.Image) v1.Hash {
	t.Helper()
	d, err := img.Digest()
	require.NoError(t, err)
	return d
}

func compress(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err = w.Write(content)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.NoError(t, os.WriteFile(path+".gz", b.Bytes(), 0o600))
	return path + ".gz"
}

func tarOf(t *testing.T, name, content string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: name, Size: int64(len(content)), Mode: 0o644}))
	_, err := w.Write([]byte(content))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}
