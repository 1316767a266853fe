//go:build e2e

package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	// patience bounds every wait: VMs boot under emulation on loaded machines.
	patience = 4 * time.Minute
	interval = 250 * time.Millisecond
)

// bin returns the path of a program that make build left.
func bin(name string) string {
	path, err := filepath.Abs(filepath.Join("..", "..", "bin", name))
	if err != nil {
		panic(err)
	}
	return path
}

// cluster is one `vic up`.
type cluster struct {
	dir string
	// programs is where vic is, and user who runs it; empty is what was built, and root.
	programs string
	user     uint32
	args     []string
	env      []string // beyond the test's, of `vic node` and `vic vch`
	client   kubernetes.Interface
	cmd      *exec.Cmd
	out      *output
	ended    chan error
	// vcenter is what `vic node` has its pods on with -vsphere.
	vcenter *simulation
}

// testContext is the part of testing.TB that a cluster's life needs, so that TestMain can have one too.
type testContext interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	FailNow()
}

// up starts a cluster on a directory of its own and stops it when the test ends.
func up(t *testing.T, args ...string) *cluster {
	t.Helper()
	c := newCluster(t.TempDir(), append([]string{"--accel", shared.accel(t)}, args...)...)
	t.Cleanup(func() { c.purge(t) })
	c.start(t)
	return c
}

func newCluster(dir string, args ...string) *cluster {
	c := &cluster{dir: dir, args: append(hypervisorArgs(), args...)}
	alive.set(c, true)
	return c
}

// alive are the clusters that were not purged yet.
var alive = clusters{is: map[*cluster]bool{}}

type clusters struct {
	mu sync.Mutex // guards is
	is map[*cluster]bool
}

func (a *clusters) set(c *cluster, is bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.is[c] = is; !is {
		delete(a.is, c)
	}
}

func (a *clusters) all() []*cluster {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Collect(maps.Keys(a.is))
}

// start runs `vic up` and waits until the node is Ready.
func (c *cluster) start(t testContext) {
	t.Helper()
	c.launch(t)
	deadline := time.After(patience)
	for !strings.Contains(c.out.String(), "is Ready") {
		select {
		case err := <-c.ended:
			require.NoError(t, err, "vic up ended:\n%s", c.out)
			require.Fail(t, "vic up ended", c.out.String())
		case <-deadline:
			c.kill()
			require.Fail(t, "the node never became Ready", c.out.String())
		case <-time.After(interval):
		}
	}
	config, err := clientcmd.BuildConfigFromFlags("", c.kubeconfig())
	require.NoError(t, err)
	config.QPS, config.Burst = 200, 400
	c.client, err = kubernetes.NewForConfig(config)
	require.NoError(t, err)
}

// accel is the accelerator that the cluster found by booting something, which takes its time where KVM is broken.
func (c *cluster) accel(t testContext) string {
	t.Helper()
	found := regexp.MustCompile(`pods run on .*QEMU \((\w+)\)`).FindStringSubmatch(c.out.String())
	require.Len(t, found, 2, c.out.String())
	return found[1]
}

// launch runs `vic up` and returns at once.
func (c *cluster) launch(t testContext) {
	t.Helper()
	c.out = &output{}
	c.cmd = c.vic(append([]string{"up", "--dir", c.dir}, c.args...)...)
	c.cmd.Stdout, c.cmd.Stderr = c.out, c.out
	require.NoError(t, c.cmd.Start())
	ended := make(chan error, 1)
	c.ended = ended
	go func(cmd *exec.Cmd) { ended <- cmd.Wait(); close(ended) }(c.cmd)
}

// vic is that program, run by the cluster's user.
func (c *cluster) vic(args ...string) *exec.Cmd {
	if c.programs == "" {
		return exec.Command(bin("vic"), args...)
	}
	cmd := exec.Command(filepath.Join(c.programs, "vic"), args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: c.user, Gid: c.user}}
	return cmd
}

// stop sends SIGTERM and waits for a clean end.
func (c *cluster) stop(t testContext) {
	t.Helper()
	require.NoError(t, c.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case err := <-c.ended:
		require.NoError(t, err, c.out.String())
	case <-time.After(patience):
		c.kill()
		require.Fail(t, "vic up did not stop", c.out.String())
	}
}

// kill is kill -9, with the end awaited.
func (c *cluster) kill() {
	_ = c.cmd.Process.Kill() // it may have ended
	<-c.ended
}

// purge leaves nothing of the cluster behind, whatever state it is in.
func (c *cluster) purge(t testContext) {
	t.Helper()
	defer alive.set(c, false)
	if c.cmd != nil {
		c.kill()
	}
	out, err := c.vic("up", "--purge", "--dir", c.dir).CombinedOutput()
	if err != nil {
		t.Errorf("vic up --purge: %v: %s\nvic up said:\n%s", err, out, c.out)
	}
	if tt, ok := t.(*testing.T); ok && tt.Failed() {
		t.Logf("vic up said:\n%s", c.out)
	}
}

func (c *cluster) kubeconfig() string { return filepath.Join(c.dir, "kubeconfig") }

// kubectl runs kubectl and requires that it succeeds.
func (c *cluster) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := c.tryKubectl(t, args...)
	require.NoError(t, err, "kubectl %s: %s", strings.Join(args, " "), out)
	return out
}

func (c *cluster) tryKubectl(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := c.kubectlCommand(t.Context(), args...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (c *cluster) kubectlCommand(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, bin("kubectl"), append([]string{"--kubeconfig", c.kubeconfig()}, args...)...)
}

// namespace makes a namespace for a test and deletes it with its pods at the end.
func (c *cluster) namespace(t *testing.T) string {
	t.Helper()
	name := "t-" + strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))
	name = strings.Trim(name[:min(len(name), 60)], "-")
	_, err := c.client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	require.NoError(t, err)
	c.eventually(t, "the default service account", func(ctx context.Context) (bool, string) {
		_, err := c.client.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
		return err == nil, ""
	})
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := c.kubectlCommand(context.Background(), "-n", name, "get", "pods,events", "-o", "wide").CombinedOutput()
			t.Logf("%s:\n%s", name, out)
		}
		err := c.client.CoreV1().Namespaces().Delete(context.Background(), name, metav1.DeleteOptions{})
		require.NoError(t, err)
	})
	return name
}

// pod makes a pod of one container that runs a shell script in the test image.
func pod(namespace, name, script string, change ...func(*corev1.Pod)) *corev1.Pod {
	grace := int64(5)
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: &grace,
			Containers: []corev1.Container{{
				Name: "main", Image: testImage, ImagePullPolicy: corev1.PullIfNotPresent,
				Command: []string{"/bin/sh", "-c", script},
			}},
		},
	}
	for _, f := range change {
		f(p)
	}
	return p
}

func restart(policy corev1.RestartPolicy) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.RestartPolicy = policy }
}

func (c *cluster) create(t *testing.T, p *corev1.Pod) *corev1.Pod {
	t.Helper()
	p, err := c.client.CoreV1().Pods(p.Namespace).Create(t.Context(), p, metav1.CreateOptions{})
	require.NoError(t, err)
	return p
}

// waitPod waits until is holds of the pod, and returns it then.
func (c *cluster) waitPod(t *testing.T, p *corev1.Pod, what string, is func(*corev1.Pod) bool) *corev1.Pod {
	t.Helper()
	var got *corev1.Pod
	c.eventually(t, p.Name+" "+what, func(ctx context.Context) (bool, string) {
		var err error
		got, err = c.client.CoreV1().Pods(p.Namespace).Get(ctx, p.Name, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		status, err := json.MarshalIndent(got.Status, "", "  ")
		require.NoError(t, err)
		return is(got), string(status)
	})
	return got
}

func (c *cluster) waitReady(t *testing.T, p *corev1.Pod) *corev1.Pod {
	t.Helper()
	return c.waitPod(t, p, "is Ready", ready)
}

func (c *cluster) waitPhase(t *testing.T, p *corev1.Pod, phase corev1.PodPhase) *corev1.Pod {
	t.Helper()
	return c.waitPod(t, p, "is "+string(phase), func(p *corev1.Pod) bool { return p.Status.Phase == phase })
}

// deleteNow deletes the pod and waits until its object and its VM are gone.
func (c *cluster) delete(t *testing.T, p *corev1.Pod) {
	t.Helper()
	require.NoError(t, c.client.CoreV1().Pods(p.Namespace).Delete(t.Context(), p.Name, metav1.DeleteOptions{}))
	c.waitGone(t, p)
}

func (c *cluster) waitGone(t *testing.T, p *corev1.Pod) {
	t.Helper()
	c.eventually(t, p.Name+" is gone", func(ctx context.Context) (bool, string) {
		got, err := c.client.CoreV1().Pods(p.Namespace).Get(ctx, p.Name, metav1.GetOptions{})
		if err == nil && got.UID == p.UID {
			return false, "the object is still there"
		}
		for _, vm := range c.vms(t) {
			if vm.UID == string(p.UID) {
				return false, "the VM is still there: " + vm.State
			}
		}
		return true, ""
	})
}

func ready(p *corev1.Pod) bool {
	for _, cond := range p.Status.Conditions {
		if cond.Type == corev1.PodReady {
			return cond.Status == corev1.ConditionTrue
		}
	}
	return false
}

func (c *cluster) eventually(t *testing.T, what string, is func(context.Context) (ok bool, seen string)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		ok, seen := is(ctx)
		if ok {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			require.Fail(t, "never: "+what, "last seen: %s\nvic up said:\n%s", seen, c.out)
		}
	}
}

// vm is a line of `vic podvm ls`.
type vm struct {
	Name        string    `json:"name"`
	Namespace   string    `json:"namespace"`
	UID         string    `json:"uid"`
	State       string    `json:"state"`
	IP          string    `json:"ip"`
	PID         int       `json:"pid"`
	MemoryBytes int64     `json:"memoryBytes"`
	Created     time.Time `json:"created"`
}

func (c *cluster) vms(t *testing.T) []vm {
	t.Helper()
	if c.vcenter != nil {
		return c.vcenter.podVMs(t)
	}
	var stderr bytes.Buffer
	cmd := c.vic("podvm", "ls", "--dir", c.dir, "-o", "json")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	var vms []vm
	require.NoError(t, json.Unmarshal(out, &vms), string(out))
	return vms
}

func (c *cluster) vm(t *testing.T, p *corev1.Pod) (vm, bool) {
	t.Helper()
	for _, v := range c.vms(t) {
		if v.UID == string(p.UID) {
			return v, true
		}
	}
	return vm{}, false
}

// follow runs kubectl logs -f and hands its lines out until it ends.
func (c *cluster) follow(t *testing.T, p *corev1.Pod, args ...string) <-chan string {
	t.Helper()
	cmd := c.kubectlCommand(t.Context(), append([]string{"-n", p.Namespace, "logs", "-f", p.Name}, args...)...)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(stdout); s.Scan(); {
			select {
			case lines <- s.Text():
			case <-t.Context().Done():
				return
			}
		}
	}()
	return lines
}

// next takes one line, and fails when none comes in time.
func next(t *testing.T, lines <-chan string) string {
	t.Helper()
	select {
	case line, ok := <-lines:
		require.True(t, ok, "the log ended")
		return line
	case <-time.After(patience):
		require.Fail(t, "no line came")
		return ""
	}
}

// output collects what a process says; it is safe for concurrent use.
type output struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

var _ io.Writer = (*output)(nil)

// mainContext is TestMain's testContext.
type mainContext struct{ failed bool }

func (*mainContext) Helper() {}
func (*mainContext) Logf(format string, args ...any) {
	_, _ = os.Stderr.WriteString(sprintf(format, args...)) // there is nowhere else to say it
}

func (m *mainContext) Errorf(format string, args ...any) { m.failed = true; m.Logf(format, args...) }

// FailNow unwinds TestMain, which leaves nothing behind.
func (m *mainContext) FailNow() {
	m.failed = true
	panic(m)
}
