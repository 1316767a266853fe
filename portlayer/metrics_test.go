package portlayer_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/portlayertest/memhv"
)

// value is what a scrape shows for a metric with these labels, as name{a="b"}; -1 where it shows none.
func value(t *testing.T, reg *prometheus.Registry, series string) float64 {
	t.Helper()
	name, want, _ := strings.Cut(strings.TrimSuffix(series, "}"), "{")
	families, err := reg.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := make([]string, 0, len(m.GetLabel()))
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+`="`+l.GetValue()+`"`)
			}
			if strings.Join(labels, ",") != want {
				continue
			}
			if h := m.GetHistogram(); h != nil {
				return float64(h.GetSampleCount())
			}
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return -1
}

func TestMetricsOfAPod(t *testing.T) {
	hv := memhv.New(memhv.Config{})
	reg := prometheus.NewRegistry()
	e := engineOf(t, portlayer.EngineConfig{Hypervisor: hv, RunDir: t.TempDir(), Metrics: reg, Patience: patience})
	runPod(t, e, "uid-1", "Never", "sleep 600")
	assert.InDelta(t, 1, value(t, reg, `vic_pod_vms{state="running"}`), 0)
	assert.InDelta(t, 0, value(t, reg, `vic_pod_vms{state="stopped"}`), 0)
	assert.InDelta(t, 1, value(t, reg, `vic_guest_links`), 0)
	assert.InDelta(t, 1, value(t, reg, `vic_guest_sessions_total`), 0)
	assert.InDelta(t, 0, value(t, reg, `vic_guest_reconnects_total`), 0)
	assert.InDelta(t, 1, value(t, reg, `vic_hypervisor_call_duration_seconds{op="Create",result="ok"}`), 0)
	assert.InDelta(t, 1, value(t, reg, `vic_hypervisor_call_duration_seconds{op="PowerOn",result="ok"}`), 0)
	assert.Greater(t, value(t, reg, `vic_guest_link_bytes_total{direction="sent"}`), 100.)
	assert.Greater(t, value(t, reg, `vic_guest_link_bytes_total{direction="received"}`), 100.)

	hv.Cut("uid-1", 0)
	require.Eventually(t, func() bool { return value(t, reg, `vic_guest_reconnects_total`) == 1 }, testTimeout, time.Millisecond)

	hv.Fail("Create", errors.New("broken"))
	_, err := e.Commit(t.Context(), draft(t, e, "uid-2"))
	require.Error(t, err)
	assert.InDelta(t, 1, value(t, reg, `vic_hypervisor_call_duration_seconds{op="Create",result="error"}`), 0)
	problems, err := testutil.GatherAndLint(reg)
	require.NoError(t, err)
	assert.Empty(t, problems)
}
