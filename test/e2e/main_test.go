//go:build e2e

package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// shared is the cluster that tests use when they do nothing to it.
var shared *cluster

// imageArchive is the test image as docker save would write it.
var imageArchive string

func sprintf(format string, args ...any) string { return fmt.Sprintf(format+"\n", args...) }

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	t := &mainContext{}
	dir, err := os.MkdirTemp("", "vic-e2e-")
	require.NoError(t, err)
	defer func() { _ = os.RemoveAll(dir) }()
	imageArchive = filepath.Join(dir, "image.tar")
	require.NoError(t, buildImage(dir, imageArchive))
	stopRegistry := serveImage(t)
	defer stopRegistry()

	registries, err = makeRegistrySettings(dir)
	require.NoError(t, err)
	shared = newCluster(filepath.Join(dir, "shared"), registries.args()...)
	defer shared.purge(t)
	shared.start(t)
	shared.importImage(t)
	code := m.Run()
	if code == 0 {
		shared.stop(t)
	}
	if t.failed {
		return 1
	}
	return code
}

// importImage gives the cluster the test image.
func (c *cluster) importImage(t testContext) {
	t.Helper()
	out, err := c.vic("image", "import", imageArchive, testImage, "--dir", c.dir).CombinedOutput()
	require.NoError(t, err, string(out))
}
