//go:build e2e

package e2e_test

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
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

func run(m *testing.M) (code int) {
	t := &mainContext{}
	defer func() {
		if t.failed {
			code = 1
		}
		if cause := recover(); cause != nil && cause != any(t) {
			panic(cause)
		}
	}()
	chooseHypervisor(t)
	dir, err := os.MkdirTemp("", "vic-e2e-")
	require.NoError(t, err)
	defer func() { _ = os.RemoveAll(dir) }()
	endClustersOnSignal(t, dir)
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
	if code = m.Run(); code == 0 {
		shared.stop(t)
	}
	return code
}

// endClustersOnSignal leaves nothing behind when somebody ends the tests.
func endClustersOnSignal(t testContext, dir string) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	// Ends with the program.
	go func() {
		<-signals
		for _, c := range alive.all() {
			c.purge(t)
		}
		_ = os.RemoveAll(dir) // it is a temporary one
		os.Exit(130)
	}()
}

// importImage gives the cluster the test image.
func (c *cluster) importImage(t testContext) {
	t.Helper()
	out, err := c.vic("image", "import", imageArchive, testImage, "--dir", c.dir).CombinedOutput()
	require.NoError(t, err, string(out))
}
