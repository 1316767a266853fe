//go:build e2e

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestPodVMsOutliveTheService runs examples/systemd/vic-node.service under a systemd of its own.
func TestPodVMsOutliveTheService(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	kubeconfig, config, state := filepath.Join(dir, "kubeconfig"), filepath.Join(dir, "node.yaml"), filepath.Join(dir, "state")
	const name = "served"
	shared.nodeCredential(t, name, kubeconfig)
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil,
		"dir: %s\naccel: %s\nvch: {name: %s, port: %d, labels: {run-by: systemd}}\n", state, shared.accel(t), name, freePort(t)), 0o600))
	node := newCluster(state)
	node.importImage(t)
	sd := startSystemd(t, map[string]string{"vic-node.service": serviceFor(t, kubeconfig, config)})
	t.Cleanup(func() {
		sd.kill(t)
		node.purge(t)
		require.NoError(t, shared.client.CoreV1().Nodes().Delete(context.Background(), name, metav1.DeleteOptions{}))
	})

	sd.run(t, "systemctl", "start", "vic-node") // returns once the node said that it is Ready
	p := shared.create(t, pod(shared.namespace(t), "served", sleepForever, func(p *corev1.Pod) {
		p.Spec.NodeSelector = map[string]string{"run-by": "systemd"}
		p.Spec.Tolerations = []corev1.Toleration{{Key: "virtual-kubelet.io/provider", Operator: corev1.TolerationOpExists}}
	}))
	shared.waitReady(t, p)
	pid := sd.onlyVM(t, state).PID

	unit := strings.Fields(sd.run(t, "systemctl", "list-units", "--plain", "--no-legend", "--type=scope", "vic-*"))
	require.NotEmpty(t, unit, "the VM has no unit")
	shown := sd.run(t, "systemctl", "show", unit[0], "-p", "Slice,Description,MemoryMax,CPUWeight,ControlGroup")
	assert.Contains(t, shown, "Slice=vic.slice\n")
	assert.Contains(t, shown, "Description=pod VM "+p.Namespace+"/served\n")
	assert.NotContains(t, shown, "MemoryMax=infinity")
	assert.Contains(t, shown, "CPUWeight=100\n", "of one processor")
	assert.Contains(t, sd.run(t, "cat", fmt.Sprintf("/proc/%d/cgroup", pid)), "/vic.slice/"+unit[0])

	sd.run(t, "systemctl", "restart", "vic-node")
	assert.Equal(t, pid, sd.onlyVM(t, state).PID, "the VM outlives a restart of the service")
	sd.run(t, "systemctl", "stop", "vic-node")
	assert.Equal(t, pid, sd.onlyVM(t, state).PID, "the VM outlives the service")
	sd.run(t, "systemctl", "start", "vic-node")
	got := shared.waitReady(t, p)
	assert.Zero(t, got.Status.ContainerStatuses[0].RestartCount)

	require.NoError(t, shared.client.CoreV1().Pods(p.Namespace).Delete(t.Context(), p.Name, metav1.DeleteOptions{}))
	shared.eventually(t, "VM and unit are gone", func(context.Context) (bool, string) {
		units := sd.run(t, "systemctl", "list-units", "--all", "--plain", "--no-legend", "--type=scope", "vic-*")
		return units == "" && len(sd.vms(t, state)) == 0, units
	})
}

// serviceFor is the example's unit with the paths of the test.
func serviceFor(t *testing.T, kubeconfig, config string) string {
	t.Helper()
	const example = "/usr/local/lib/vic/vic node --kubeconfig /etc/vic/kubeconfig --config /etc/vic/node.yaml"
	unit, err := os.ReadFile("../../examples/systemd/vic-node.service")
	require.NoError(t, err)
	require.Contains(t, string(unit), "ExecStart="+example)
	return strings.Replace(string(unit), example, strings.Join([]string{bin("vic"), "node", "--kubeconfig", kubeconfig, "--config", config}, " "), 1)
}

// systemd is one that runs in namespaces of its own.
type systemd struct {
	cmd *exec.Cmd // unshare, with which all of it ends
	out *output
	pid string // of systemd, as this machine counts
}

func startSystemd(t *testing.T, units map[string]string) *systemd {
	t.Helper()
	dir := t.TempDir()
	for name, text := range units {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	s := &systemd{out: &output{}}
	s.cmd = exec.Command("unshare", "--pid", "--fork", "--mount", "--mount-proc", "--cgroup", "--kill-child", "sh", "testdata/systemd.sh", dir)
	s.cmd.Stdout, s.cmd.Stderr = s.out, s.out
	require.NoError(t, s.cmd.Start())
	t.Cleanup(func() {
		s.kill(t)
		if t.Failed() {
			t.Logf("systemd said:\n%s", s.out)
		}
	})
	shared.eventually(t, "systemd runs", func(ctx context.Context) (bool, string) {
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", s.cmd.Process.Pid))
		if s.pid = strings.TrimSpace(string(children)); s.pid == "" {
			return false, s.out.String()
		}
		out, err := s.command(ctx, "systemctl", "is-active", "default.target").CombinedOutput()
		return err == nil, string(out) + s.out.String()
	})
	return s
}

// kill ends systemd and all that it started, VMs too, and waits for it. It may be called again.
func (s *systemd) kill(t *testing.T) {
	t.Helper()
	_ = s.cmd.Process.Kill() // it has ended
	_ = s.cmd.Wait()         // it was killed
	require.Eventually(t, func() bool {
		// Process 1 of a namespace is the last to go.
		stat, err := os.ReadFile("/proc/" + s.pid + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z ")
	}, patience, interval)
}

// command is run beside the services.
func (s *systemd) command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "nsenter", append([]string{"--target", s.pid, "--mount", "--pid", "--cgroup"}, args...)...)
}

func (s *systemd) run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := s.command(t.Context(), args...).CombinedOutput()
	require.NoError(t, err, "%s: %s\n%s", strings.Join(args, " "), out, s.out)
	return string(out)
}

func (s *systemd) vms(t *testing.T, state string) []vm {
	t.Helper()
	var vms []vm
	require.NoError(t, json.Unmarshal([]byte(s.run(t, bin("vic"), "podvm", "ls", "--dir", state, "-o", "json")), &vms))
	return vms
}

func (s *systemd) onlyVM(t *testing.T, state string) vm {
	t.Helper()
	vms := s.vms(t, state)
	require.Len(t, vms, 1)
	require.Equal(t, "running", vms[0].State)
	return vms[0]
}

// TestNodeRefusesAContainer starts the node where its VMs would end with it.
func TestNodeRefusesAContainer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config, state := filepath.Join(dir, "node.yaml"), filepath.Join(dir, "state")
	require.NoError(t, os.WriteFile(config, []byte("vch: {name: contained}\ndir: "+state+"\n"), 0o600))
	out, err := exec.Command("unshare", "--pid", "--fork", "--mount-proc", "--kill-child",
		bin("vic"), "node", "--kubeconfig", shared.kubeconfig(), "--config", config).CombinedOutput()
	require.Error(t, err)
	assert.Contains(t, string(out), "process namespace is a container's")
	assert.Contains(t, string(out), "allowContainer")
	assert.NoDirExists(t, state, "nothing was touched")
}
