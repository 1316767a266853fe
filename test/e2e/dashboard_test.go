//go:build e2e

package e2e_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDashboardShowsWhatANodeHas checks examples/grafana against a node that has run a pod.
func TestDashboardShowsWhatANodeHas(t *testing.T) {
	t.Parallel()
	ns := shared.namespace(t)
	p := shared.waitReady(t, shared.create(t, pod(ns, "seen", sleepForever, small)))
	metrics := shared.kubectl(t, "get", "--raw", "/api/v1/nodes/"+p.Spec.NodeName+"/proxy/metrics")
	dashboard, err := filepath.Abs("../../examples/grafana/vic.json")
	require.NoError(t, err)
	check := exec.CommandContext(t.Context(), "go", "run", ".", dashboard)
	check.Dir = "../../tools/dashboard"
	check.Stdin = strings.NewReader(metrics)
	out, err := check.CombinedOutput()
	require.NoError(t, err, string(out))
}
