package guestimage

import (
	"bytes"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

func sample() archive {
	a := archive{}
	a.file("init", 0o755, []byte("#!"))
	a.file("/lib/deep/file", 0o644, []byte("12345"))
	a.symlink("lib/link", "deep/file")
	a.char("dev/console", 0o600, 5, 1)
	a.dir("tmp", 0o1777)
	return a
}

func TestTheSameContentGivesTheSameBytes(t *testing.T) {
	var first, second bytes.Buffer
	require.NoError(t, sample().writeTo(&first))
	require.NoError(t, sample().writeTo(&second))
	require.Equal(t, first.Bytes(), second.Bytes())
}

func TestCpioReadsTheArchive(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, sample().writeTo(&b))
	cmd := exec.Command("cpio", "-itv", "--quiet", "--numeric-uid-gid")
	cmd.Stdin = &b
	cmd.Env = []string{"TZ=UTC", "LC_ALL=C", "PATH=/bin:/usr/bin"}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s (apt-get install cpio)", out)
	require.Equal(t, `drwxr-xr-x   2 0        0               0 Jan  1  1970 dev
crw-------   1 0        0          5,   1 Jan  1  1970 dev/console
-rwxr-xr-x   1 0        0               2 Jan  1  1970 init
drwxr-xr-x   2 0        0               0 Jan  1  1970 lib
drwxr-xr-x   2 0        0               0 Jan  1  1970 lib/deep
-rw-r--r--   1 0        0               5 Jan  1  1970 lib/deep/file
lrwxrwxrwx   1 0        0               9 Jan  1  1970 lib/link -> deep/file
drwxrwxrwt   2 0        0               0 Jan  1  1970 tmp
`, string(out))
}
