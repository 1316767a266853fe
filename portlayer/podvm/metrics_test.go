package podvm_test

import (
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/internal/testmetrics"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
	"github.com/virtual-kubelet/vic/portlayer/portlayertest/memhv"
)

func TestMetricsOfAPod(t *testing.T) {
	hv := memhv.New(memhv.Config{})
	reg := prometheus.NewRegistry()
	e := hostOf(t, hv, podvm.Config{RunDir: t.TempDir(), Metrics: reg, Patience: patience})
	runPod(t, e, "uid-1", "Never", "sleep 600")
	assert.InDelta(t, 1, testmetrics.Value(t, reg, `vic_pod_vms{state="running"}`), 0)
	assert.InDelta(t, 0, testmetrics.Value(t, reg, `vic_pod_vms{state="stopped"}`), 0)
	assert.InDelta(t, 1, testmetrics.Value(t, reg, `vic_guest_links`), 0)
	assert.InDelta(t, 1, testmetrics.Value(t, reg, `vic_guest_sessions_total`), 0)
	assert.InDelta(t, 0, testmetrics.Value(t, reg, `vic_guest_reconnects_total`), 0)
	assert.InDelta(t, 1, testmetrics.Value(t, reg, `vic_hypervisor_call_duration_seconds{op="Create",result="ok"}`), 0)
	assert.InDelta(t, 1, testmetrics.Value(t, reg, `vic_hypervisor_call_duration_seconds{op="PowerOn",result="ok"}`), 0)
	assert.Greater(t, testmetrics.Value(t, reg, `vic_guest_link_bytes_total{direction="sent"}`), 100.)
	assert.Greater(t, testmetrics.Value(t, reg, `vic_guest_link_bytes_total{direction="received"}`), 100.)

	hv.Cut("uid-1", 0)
	require.Eventually(t, func() bool { return testmetrics.Value(t, reg, `vic_guest_reconnects_total`) == 1 }, testTimeout, time.Millisecond)

	hv.Fail("Create", errors.New("broken"))
	_, err := e.Commit(t.Context(), draft(t, e, "uid-2"))
	require.Error(t, err)
	assert.InDelta(t, 1, testmetrics.Value(t, reg, `vic_hypervisor_call_duration_seconds{op="Create",result="error"}`), 0)
	problems, err := testutil.GatherAndLint(reg)
	require.NoError(t, err)
	assert.Empty(t, problems)
}
