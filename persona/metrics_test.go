package persona_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/persona"
)

func TestMetricsOfTheCache(t *testing.T) {
	dir := t.TempDir()
	s, err := persona.Open(persona.Config{Dir: dir})
	require.NoError(t, err)
	reg := prometheus.NewRegistry()
	reg.MustRegister(s.Collector())
	shown := func() map[string]float64 {
		families, err := reg.Gather()
		require.NoError(t, err)
		values := map[string]float64{}
		for _, f := range families {
			values[f.GetName()] = f.GetMetric()[0].GetGauge().GetValue()
		}
		return values
	}
	assert.Equal(t, map[string]float64{"vic_image_cache_images": 0, "vic_image_cache_bytes": 0}, shown())
	require.NoError(t, os.WriteFile(filepath.Join(dir, "disks", "sha256-x.ext4"), make([]byte, 8192), 0o600))
	require.NoError(t, os.Truncate(filepath.Join(dir, "disks", "sha256-x.ext4"), 1<<30))
	bytes := shown()["vic_image_cache_bytes"]
	assert.GreaterOrEqual(t, bytes, 8192.)
	assert.Less(t, bytes, float64(1<<20), "a sparse disk takes what was written")
}
