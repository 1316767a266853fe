package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func TestReservedFlag(t *testing.T) {
	var f capacityFlags
	require.NoError(t, f.reserved.Set("memory=1Gi, cpu=500m"))
	assert.Equal(t, "cpu=500m,memory=1Gi", f.reserved.String())
	capacity := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2"), corev1.ResourceMemory: resource.MustParse("2Gi")}
	require.NoError(t, f.checkReserved(capacity))
	require.NoError(t, f.reserved.Set("memory=2Gi"), "the last one counts")
	err := f.checkReserved(capacity)
	var misuse *usageError
	require.ErrorAs(t, err, &misuse)
	require.EqualError(t, err, "--reserved memory=2Gi leaves nothing of the node's 2Gi")
}

func TestNodeFileSaysWhatIsOffered(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.yaml")
	require.NoError(t, os.WriteFile(path, []byte(`
nodeName: n
cpu: 4
memory: 8Gi
ephemeralStorage: 20Gi
pods: 30
reserved: {cpu: 500m, memory: 1Gi}
evictionPressureTransitionPeriod: 30s
`), 0o600))
	f, err := readNodeFile(path)
	require.NoError(t, err)
	c, err := f.capacity(f.EvictionPressureTransitionPeriod.Duration)
	require.NoError(t, err)
	assert.Equal(t, int64(4), c.cpu)
	assert.Equal(t, int64(8<<30), c.memory.bytes)
	assert.Equal(t, int64(20<<30), c.storage.bytes)
	assert.Equal(t, int64(30), c.pods)
	assert.Equal(t, "cpu=500m,memory=1Gi", c.reserved.String())
	assert.Equal(t, 30*time.Second, c.transition)
}
