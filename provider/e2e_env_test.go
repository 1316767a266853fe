//go:build e2e

package provider_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/virtual-kubelet/vic/cache"
	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/version"
	"github.com/virtual-kubelet/vic/operations"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
	"github.com/virtual-kubelet/vic/provider"
	"github.com/virtual-kubelet/vic/provider/certs"
	"github.com/virtual-kubelet/vic/provider/objects"
)

const (
	nodeName  = "vic-test"
	nodeIP    = "127.0.0.1"
	settle    = 2 * time.Minute // for what takes a second or two on an idle machine
	lookAgain = 50 * time.Millisecond
)

// environment is one control plane for all tests of this package.
type environment struct {
	admin, node *rest.Config
	client      kubernetes.Interface // the administrator's
	dir         string
	stop        func()
}

var env environment

func TestMain(m *testing.M) {
	os.Exit(runMain(m))
}

func runMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "vic-provider-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	env.dir = dir
	if env.stop, err = startControlPlane(dir); err != nil {
		fmt.Fprintln(os.Stderr, "start control plane:", err)
		return 1
	}
	defer func() { env.stop() }()
	return m.Run()
}

func startControlPlane(dir string) (stop func(), err error) {
	binary := os.Getenv("VIC_CONTROLPLANE")
	if binary == "" {
		binary = filepath.Join("..", "bin", "vic-controlplane")
	}
	cmd := exec.Command(binary, "--dir", dir, "--node-name", nodeName)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "ready ") {
		stop()
		return nil, fmt.Errorf("said %q: %w", line, err)
	}
	if env.admin, err = clientcmd.BuildConfigFromFlags("", filepath.Join(dir, "admin.kubeconfig")); err == nil {
		env.node, err = clientcmd.BuildConfigFromFlags("", filepath.Join(dir, "vic-node.kubeconfig"))
	}
	if err != nil {
		stop()
		return nil, err
	}
	env.admin.QPS = -1
	if env.client, err = kubernetes.NewForConfig(env.admin); err != nil {
		stop()
		return nil, err
	}
	return stop, nil
}

// instantManager runs every pod at once and ends it at once; nothing stands behind it.
type instantManager struct {
	pods *cache.Pods

	mu     sync.Mutex // guards all below
	hold   bool       // pods that are being deleted keep running
	synced []types.UID
	resync [][]*corev1.Pod
}

func (m *instantManager) Sync(pod *corev1.Pod) {
	m.pods.SetPod(pod)
	m.mu.Lock()
	m.synced = append(m.synced, pod.UID)
	m.mu.Unlock()
	if entry, ok := m.pods.Get(pod.UID); ok && (entry.Pod.Status.Phase != corev1.PodRunning || pod.DeletionTimestamp != nil) {
		m.pods.SetStatus(pod.UID, m.statusOf(pod))
	}
	if pod.DeletionTimestamp != nil && !m.holds() {
		m.pods.Finish(pod.UID)
	}
}

func (m *instantManager) Forget(uid types.UID) { m.pods.Remove(uid) }

func (m *instantManager) Resync(known []*corev1.Pod) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.resync = append(m.resync, known)
}

func (m *instantManager) setHold(hold bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hold = hold
}

func (m *instantManager) holds() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.hold
}

func (m *instantManager) statusOf(pod *corev1.Pod) corev1.PodStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := metav1.Time{Time: time.Now().Truncate(time.Second)}
	st := corev1.PodStatus{
		Phase: corev1.PodRunning, HostIP: nodeIP, PodIP: "10.1.2.3", StartTime: &at,
		HostIPs: []corev1.HostIP{{IP: nodeIP}}, PodIPs: []corev1.PodIP{{IP: "10.1.2.3"}},
		Conditions: []corev1.PodCondition{
			{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: at},
			{Type: corev1.ContainersReady, Status: corev1.ConditionTrue, LastTransitionTime: at},
		},
	}
	ended := pod.DeletionTimestamp != nil && !m.hold
	for i := range pod.Spec.Containers {
		c := corev1.ContainerStatus{Name: pod.Spec.Containers[i].Name, Image: "i", Ready: !ended}
		if ended {
			c.State.Terminated = &corev1.ContainerStateTerminated{ExitCode: 7, Reason: "Error", FinishedAt: at}
		} else {
			c.State.Running = &corev1.ContainerStateRunning{StartedAt: at}
		}
		st.ContainerStatuses = append(st.ContainerStatuses, c)
	}
	if ended {
		st.Phase = corev1.PodFailed
	}
	return st
}

// echo serves streams without containers.
type echo struct{}

func (echo) Running(context.Context, operations.Container) error { return nil }

func (echo) Logs(_ context.Context, c operations.Container, opts podvm.LogOptions) (io.ReadCloser, error) {
	if opts.Previous {
		return nil, portlayer.ErrNotFound
	}
	return io.NopCloser(strings.NewReader("log of " + c.Name + "\n")), nil
}

func (echo) Exec(_ context.Context, _ operations.Container, exec wire.Exec, s podvm.Stdio) (wire.Exit, error) {
	if s.Stdin != nil {
		if _, err := io.Copy(s.Stdout, s.Stdin); err != nil {
			return wire.Exit{}, err
		}
	}
	if exec.Args[0] == "fail" {
		return wire.Exit{Code: 42}, nil
	}
	_, err := io.WriteString(s.Stdout, strings.Join(exec.Args, " "))
	return wire.Exit{}, err
}

func (echo) Attach(context.Context, operations.Container, wire.Attach, podvm.Stdio) (wire.Exit, error) {
	return wire.Exit{}, portlayer.ErrNotRunning
}

// DialPort connects to what sends back what it gets.
func (echo) DialPort(context.Context, string, string, uint16) (io.ReadWriteCloser, error) {
	here, there := net.Pipe()
	go func() { // ends with the connection
		_, _ = io.Copy(there, there)
		_ = there.Close()
	}()
	return here, nil
}

// plenty is a VCH without limits.
type plenty struct{}

func (plenty) Capacity(context.Context) (portlayer.Capacity, error) {
	return portlayer.Capacity{CPUMilli: 1e6, MemoryBytes: 1 << 40, StorageBytes: 1 << 40, Pods: 5000}, nil
}

// runningNode is a node until the test ends.
type runningNode struct {
	*provider.Node
	manager *instantManager
	certDir string
}

func startNode(tb testing.TB) runningNode {
	tb.Helper()
	clients, err := provider.NewClients(env.node, "vic-test")
	require.NoError(tb, err)
	pods, events, watched := cache.New(), provider.NewEvents(clients.Events, nodeName), objects.New(clients.Main)
	manager := &instantManager{pods: pods}
	certDir := filepath.Join(tb.TempDir(), "certs")
	n, err := provider.New(provider.Config{
		Name: nodeName,
		Description: provider.Description{
			InternalIP: nodeIP, Zone: "here", InstanceType: "vic.qemu",
			KubeletVersion: version.Kubernetes + "-vic-test", RuntimeVersion: "vic://test", OSImage: "test", KernelVersion: "6.1",
		},
		Clients: clients, Manager: manager, Containers: echo{}, Pods: pods, References: watched, Host: plenty{},
		Recorder: events.Recorder(), Listen: provider.Listen{Address: nodeIP + ":0"}, CertDir: certDir, Metrics: prometheus.NewRegistry(),
	})
	require.NoError(tb, err)
	approver := certs.NewApprover(certs.ApproverConfig{
		Client: env.client, NodeName: nodeName, IPs: []net.IP{net.ParseIP(nodeIP)}, DNSNames: []string{nodeName},
	})
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	parts.Go(func() { require.NoError(tb, n.Run(ctx)) })
	parts.Go(func() { require.NoError(tb, approver.Run(ctx)) })
	parts.Go(func() { watched.Run(ctx) })
	tb.Cleanup(func() {
		cancel()
		parts.Wait()
		events.Close()
		// The next test begins with a new node.
		require.NoError(tb, env.client.CoreV1().Nodes().Delete(context.Background(), nodeName, metav1.DeleteOptions{}))
	})
	waitFor(tb, "node is Ready", n.Ready())
	return runningNode{Node: n, manager: manager, certDir: certDir}
}

func waitFor(tb testing.TB, what string, done <-chan struct{}) {
	tb.Helper()
	select {
	case <-done:
	case <-time.After(settle):
		require.Fail(tb, "not in time: "+what)
	}
}

// newNamespace returns a namespace that goes with the test.
func newNamespace(tb testing.TB) string {
	tb.Helper()
	namespaces := env.client.CoreV1().Namespaces()
	ns, err := namespaces.Create(tb.Context(), &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "provider-"},
	}, metav1.CreateOptions{})
	require.NoError(tb, err)
	accounts := env.client.CoreV1().ServiceAccounts(ns.Name)
	require.Eventually(tb, func() bool {
		_, err := accounts.Get(tb.Context(), "default", metav1.GetOptions{})
		return err == nil
	}, settle, lookAgain, "default service account")
	tb.Cleanup(func() { _ = namespaces.Delete(context.Background(), ns.Name, metav1.DeleteOptions{}) })
	return ns.Name
}

func podNamed(namespace, name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: corev1.PodSpec{
			NodeName:   nodeName,
			Containers: []corev1.Container{{Name: "c", Image: "i"}},
		},
	}
}

func createPod(tb testing.TB, pod *corev1.Pod) *corev1.Pod {
	tb.Helper()
	created, err := env.client.CoreV1().Pods(pod.Namespace).Create(tb.Context(), pod, metav1.CreateOptions{})
	require.NoError(tb, err)
	return created
}

func waitRunning(tb testing.TB, namespace string, count int) {
	tb.Helper()
	require.Eventually(tb, func() bool {
		list, err := env.client.CoreV1().Pods(namespace).List(tb.Context(), metav1.ListOptions{ResourceVersion: "0"})
		if err != nil {
			return false
		}
		running := 0
		for i := range list.Items {
			if list.Items[i].Status.Phase == corev1.PodRunning {
				running++
			}
		}
		return running == count
	}, settle, lookAgain, "%d running pods", count)
}
