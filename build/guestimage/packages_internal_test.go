package guestimage

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// apt puts programs in PATH that stand for apt-cache and apt-get: a mirror where each package's content is its name.
func apt(t *testing.T) (bin string) {
	t.Helper()
	bin = t.TempDir()
	sum := func(s string) string {
		d := sha256.Sum256([]byte(s))
		return hex.EncodeToString(d[:])
	}
	var index strings.Builder
	for _, p := range [][2]string{
		{"linux-meta", "linux-image-1 (= 1.0)"},
		{"linux-image-1", "kmod, linux-base (>= 4)"},
		{"crun", "libc6 (>= 2.34), libyajl2 | other, dpkg"},
		{"e2fsprogs", "logsave"},
		{"libc6", "libgcc-s1, debconf"},
		{"libyajl2", "libc6:any"},
		{"libgcc-s1", "gcc-12-base (= 12), libc6"},
	} {
		fmt.Fprintf(&index, `p_%s) printf 'Package: %s\nVersion: 1:1.0\nDepends: %s\nSHA256: %s\n\n';;
`, p[0], p[0], p[1], sum(p[0]))
	}
	script(t, bin, "apt-cache", `shift 2; for p in "$@"; do case "p_$p" in `+index.String()+` *) exit 100;; esac; done`)
	script(t, bin, "apt-get", `test ! -e `+bin+`/offline || exit 100; p=${3%%=*}; printf %s "$p" > "$p.deb"`)
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	return bin
}

func script(t *testing.T, dir, name, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755))
}

func names(s selection) []string {
	var n []string
	for _, p := range s.all() {
		n = append(n, p.Name)
	}
	return n
}

var wanted = []string{"linux-image-1", "crun", "e2fsprogs", "libc6", "libgcc-s1", "libyajl2"}

func TestResolveFollowsLibrariesAndTheMetaPackage(t *testing.T) {
	apt(t)
	s, err := resolve(t.Context(), "linux-meta", false)
	require.NoError(t, err)
	require.Equal(t, wanted, names(s))
	require.Equal(t, "1:1.0", s.Kernel.Version)

	_, err = resolve(t.Context(), "linux-absent", false)
	require.ErrorIs(t, err, errNotInLists)
}

func TestAFilledCacheNeedsNoNetwork(t *testing.T) {
	tests := map[string]func(t *testing.T, bin string){
		"while apt's lists are there": func(*testing.T, string) {},
		"nor apt's lists":             func(t *testing.T, bin string) { t.Helper(); script(t, bin, "apt-cache", "exit 100") },
	}
	for name, breakMore := range tests {
		t.Run(name, func(t *testing.T) {
			bin := apt(t)
			c := debCache{dir: t.TempDir()}
			_, err := c.selection(t.Context(), "linux-meta", false)
			require.NoError(t, err)
			script(t, bin, "offline", "")
			breakMore(t, bin)
			s, err := c.selection(t.Context(), "linux-meta", false)
			require.NoError(t, err)
			require.Equal(t, wanted, names(s))
		})
	}
}

func TestAptIsAskedAgainWhenItKnowsMore(t *testing.T) {
	bin, lists := apt(t), filepath.Join(t.TempDir(), "lists")
	require.NoError(t, os.Mkdir(lists, 0o755))
	c := debCache{t.TempDir(), []string{lists}}
	first, err := c.selection(t.Context(), "linux-meta", false)
	require.NoError(t, err)
	script(t, bin, "apt-cache", "touch "+bin+"/asked; exit 100")
	again, err := c.selection(t.Context(), "linux-meta", false)
	require.NoError(t, err)
	require.Equal(t, names(first), names(again))
	require.NoFileExists(t, filepath.Join(bin, "asked"))

	later := time.Now().Add(time.Hour)
	require.NoError(t, os.Chtimes(lists, later, later))
	_, err = c.selection(t.Context(), "linux-meta", false)
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(bin, "asked"))
}

func TestACorruptPackageIsFound(t *testing.T) {
	bin := apt(t)
	c := debCache{dir: t.TempDir()}
	s, err := c.selection(t.Context(), "linux-meta", false)
	require.NoError(t, err)
	crun := c.path(s.Runtime[0])

	require.NoError(t, os.WriteFile(crun, []byte("corrupt"), 0o644))
	_, err = c.selection(t.Context(), "linux-meta", false)
	require.NoError(t, err)
	b, err := os.ReadFile(crun)
	require.NoError(t, err)
	require.Equal(t, "crun", string(b), "it was downloaded again")

	require.NoError(t, os.WriteFile(crun, []byte("corrupt"), 0o644))
	script(t, bin, "offline", "")
	_, err = c.selection(t.Context(), "linux-meta", false)
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorContains(t, err, crun)
}

func TestAMirrorThatSendsSomethingElseIsRefused(t *testing.T) {
	bin := apt(t)
	script(t, bin, "apt-get", `echo other > x.deb`)
	_, err := debCache{dir: t.TempDir()}.selection(t.Context(), "linux-meta", false)
	require.ErrorIs(t, err, ErrCorrupt)
}
