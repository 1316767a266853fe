//go:build e2e

package provider_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	neturl "net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	utilexec "k8s.io/client-go/util/exec"

	"github.com/virtual-kubelet/vic/provider"
)

func TestNodeIsRegistered(t *testing.T) {
	n := startNode(t)
	nodes := env.client.CoreV1().Nodes()
	got, err := nodes.Get(t.Context(), nodeName, metav1.GetOptions{})
	require.NoError(t, err)

	for key, want := range map[string]string{
		"type": "virtual-kubelet", "kubernetes.io/hostname": nodeName,
		"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
		"node.kubernetes.io/instance-type": "vic.qemu", "topology.kubernetes.io/zone": "here",
		"node.kubernetes.io/exclude-from-external-load-balancers": "",
	} {
		value, ok := got.Labels[key]
		assert.True(t, ok, key)
		assert.Equal(t, want, value, key)
	}
	assert.Equal(t, n.Port(), got.Status.DaemonEndpoints.KubeletEndpoint.Port)
	assert.Equal(t, "1k", got.Status.Capacity.Cpu().String())
	assert.Len(t, got.Status.Conditions, 5)
	assert.Equal(t, []string{"VolumeBindMountOptions"}, got.Status.DeclaredFeatures)

	require.Eventually(t, func() bool {
		lease, err := env.client.CoordinationV1().Leases(corev1.NamespaceNodeLease).Get(t.Context(), nodeName, metav1.GetOptions{})
		return err == nil && *lease.Spec.HolderIdentity == nodeName
	}, settle, lookAgain, "lease")
	require.Eventually(t, func() bool {
		got, err := nodes.Get(t.Context(), nodeName, metav1.GetOptions{})
		return err == nil && len(got.Spec.Taints) == 0
	}, settle, lookAgain, "no taint")
}

func TestAConditionOfTheAdministratorsStays(t *testing.T) {
	n := startNode(t)
	nodes := env.client.CoreV1().Nodes()
	patch := func(condition string) {
		_, err := nodes.Patch(context.Background(), nodeName, types.StrategicMergePatchType,
			[]byte(`{"status":{"conditions":[{"type":"DrainInProgress",`+condition+`}]}}`), metav1.PatchOptions{}, "status")
		require.NoError(t, err)
	}
	patch(`"status":"True"`)
	t.Cleanup(func() { patch(`"$patch":"delete"`) })

	n.SetNotReady("Test", "the node writes its status")
	var got *corev1.Node
	require.Eventually(t, func() bool {
		var err error
		got, err = nodes.Get(t.Context(), nodeName, metav1.GetOptions{})
		return err == nil && !isReady(got)
	}, settle, lookAgain, "the node's own condition")
	assert.True(t, slices.ContainsFunc(got.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeDrainInProgress && c.Status == corev1.ConditionTrue
	}))
}

func TestDeletedNodeComesBack(t *testing.T) {
	startNode(t)
	nodes := env.client.CoreV1().Nodes()
	before, err := nodes.Get(t.Context(), nodeName, metav1.GetOptions{})
	require.NoError(t, err)
	require.NoError(t, nodes.Delete(t.Context(), nodeName, metav1.DeleteOptions{}))
	require.Eventually(t, func() bool {
		after, err := nodes.Get(t.Context(), nodeName, metav1.GetOptions{})
		return err == nil && after.UID != before.UID && isReady(after)
	}, settle, lookAgain)
}

func TestServingCertificateIsSigned(t *testing.T) {
	n := startNode(t)
	waitFor(t, "certificate is signed", n.Signed())

	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(env.admin.CAData))
	for _, name := range []string{nodeIP, nodeName} {
		conn, err := (&tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: name}}).
			DialContext(t.Context(), "tcp", fmt.Sprintf("%s:%d", nodeIP, n.Port()))
		require.NoError(t, err, name)
		require.NoError(t, conn.Close())
	}
	info, err := os.Stat(n.certDir)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), info.Mode().Perm())
}

func TestKubeletAPIAsksWho(t *testing.T) {
	n := startNode(t)
	ns := newNamespace(t)
	token := tokenOf(t, ns)
	url := func(path string) string { return fmt.Sprintf("https://%s:%d%s", nodeIP, n.Port(), path) }

	assert.Equal(t, http.StatusUnauthorized, get(t, url("/pods"), ""))
	assert.Equal(t, http.StatusUnauthorized, get(t, url("/pods"), "no token at all"))
	assert.Equal(t, http.StatusForbidden, get(t, url("/pods"), token))
	assert.Equal(t, http.StatusForbidden, get(t, url("/exec/a/b/c?command=id&output=1"), token))

	allow(t, ns, "nodes/metrics", "get")
	require.Eventually(t, func() bool { return get(t, url("/metrics"), token) == http.StatusOK }, settle, time.Second)
	assert.Equal(t, http.StatusForbidden, get(t, url("/configz"), token))
}

func TestStreamsThroughTheAPIServer(t *testing.T) {
	n := startNode(t)
	waitFor(t, "certificate is signed", n.Signed())
	ns := newNamespace(t)
	createPod(t, podNamed(ns, "a"))
	waitRunning(t, ns, 1)
	pods := env.client.CoreV1().Pods(ns)

	t.Run("logs are those of the container", func(t *testing.T) {
		text, err := pods.GetLogs("a", &corev1.PodLogOptions{}).DoRaw(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "log of a\n", string(text))
	})
	t.Run("a missing log is explained in the kubelet's words", func(t *testing.T) {
		_, err := pods.GetLogs("a", &corev1.PodLogOptions{Previous: true}).Stream(t.Context())
		assert.EqualError(t, err, `previous terminated container "c" in pod "a" not found`)
	})
	t.Run("a port is forwarded", func(t *testing.T) {
		assert.Equal(t, "through the pod", forward(t, ns, "through the pod"))
	})
	for name, dial := range executors {
		t.Run("exec over "+name+" carries input, output and the exit code", func(t *testing.T) {
			out, err := run(t, dial, ns, "typed ", "echo", "hi")
			require.NoError(t, err)
			assert.Equal(t, "typed echo hi", out)

			_, err = run(t, dial, ns, "", "fail")
			var exit utilexec.CodeExitError
			require.ErrorAs(t, err, &exit)
			assert.Equal(t, 42, exit.Code)
		})
	}
}

func TestStatusDoesNotUndoLabels(t *testing.T) {
	n := startNode(t)
	ns := newNamespace(t)
	pod := createPod(t, podNamed(ns, "a"))
	waitRunning(t, ns, 1)
	pods := env.client.CoreV1().Pods(ns)
	gate := `{"status":{"conditions":[{"type":"example.com/gate","status":"True"}]}}`
	_, err := pods.Patch(t.Context(), "a", types.StrategicMergePatchType, []byte(gate), metav1.PatchOptions{}, "status")
	require.NoError(t, err)

	for i := range 20 {
		label := fmt.Appendf(nil, `{"metadata":{"labels":{"round":"%d"}}}`, i)
		_, err := pods.Patch(t.Context(), "a", types.MergePatchType, label, metav1.PatchOptions{})
		require.NoError(t, err)
		st := n.manager.statusOf(pod)
		st.PodIP, st.PodIPs = fmt.Sprintf("10.1.3.%d", i), []corev1.PodIP{{IP: fmt.Sprintf("10.1.3.%d", i)}}
		n.manager.pods.SetStatus(pod.UID, st)
	}
	require.Eventually(t, func() bool {
		got, err := pods.Get(t.Context(), "a", metav1.GetOptions{})
		return err == nil && got.Status.PodIP == "10.1.3.19"
	}, settle, lookAgain)
	got, err := pods.Get(t.Context(), "a", metav1.GetOptions{})
	require.NoError(t, err)
	assert.Equal(t, "19", got.Labels["round"])
	assert.Equal(t, []corev1.PodIP{{IP: "10.1.3.19"}}, got.Status.PodIPs)
	assert.Len(t, got.Status.Conditions, 3, "a condition of others stays")
}

func TestDeletedPodGoesWhenItHasEnded(t *testing.T) {
	n := startNode(t)
	ns := newNamespace(t)
	n.manager.setHold(true)
	pod := createPod(t, podNamed(ns, "a"))
	waitRunning(t, ns, 1)
	pods := env.client.CoreV1().Pods(ns)
	changes, err := pods.Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=a"})
	require.NoError(t, err)
	defer changes.Stop()

	grace := int64(1)
	require.NoError(t, pods.Delete(t.Context(), "a", metav1.DeleteOptions{GracePeriodSeconds: &grace}))
	never := time.Now().Add(3 * time.Second)
	for time.Now().Before(never) {
		_, err := pods.Get(t.Context(), "a", metav1.GetOptions{})
		require.NoError(t, err, "it stays while it runs, also after its grace period")
		waitTick(t)
	}

	n.manager.setHold(false)
	entry, ok := n.manager.pods.Get(pod.UID)
	require.True(t, ok)
	n.manager.Sync(entry.Pod)
	var last *corev1.Pod
	for event := range changes.ResultChan() {
		if event.Type == watch.Deleted {
			break
		}
		last, ok = event.Object.(*corev1.Pod)
		require.True(t, ok)
	}
	require.NotNil(t, last)
	require.NotNil(t, last.Status.ContainerStatuses[0].State.Terminated, "its end is seen before it goes")
	assert.Equal(t, int32(7), last.Status.ContainerStatuses[0].State.Terminated.ExitCode)
}

func TestPodThatComesBackUnderItsName(t *testing.T) {
	startNode(t)
	ns := newNamespace(t)
	pods := env.client.CoreV1().Pods(ns)
	for range 10 {
		pod := podNamed(ns, "same")
		pod.Spec.TerminationGracePeriodSeconds = new(int64(time.Hour / time.Second))
		pod = createPod(t, pod)
		require.Eventually(t, func() bool {
			got, err := pods.Get(t.Context(), "same", metav1.GetOptions{})
			return err == nil && got.UID == pod.UID && got.Status.Phase == corev1.PodRunning
		}, settle, lookAgain)
		require.NoError(t, pods.Delete(t.Context(), "same", metav1.DeleteOptions{}))
		require.Eventually(t, func() bool {
			_, err := pods.Get(t.Context(), "same", metav1.GetOptions{})
			return apierrors.IsNotFound(err)
		}, settle, lookAgain, "before its grace period is over")
	}
}

func TestLastStatusesAreWrittenBeforeTheEnd(t *testing.T) {
	n := startNode(t)
	ns := newNamespace(t)
	const count = 50
	createMany(t, ns, count)

	n.SetNotReady("NodeShutdown", "the test ends it")
	for _, entry := range n.manager.pods.List() {
		if entry.Pod.Namespace == ns {
			st := entry.Pod.Status
			st.Message = "last words"
			n.manager.pods.SetStatus(entry.Pod.UID, st)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), settle)
	defer cancel()
	require.NoError(t, n.Flush(ctx))
	list, err := env.client.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, list.Items, count)
	for i := range list.Items {
		assert.Equal(t, "last words", list.Items[i].Status.Message)
	}
	require.Eventually(t, func() bool {
		got, err := env.client.CoreV1().Nodes().Get(t.Context(), nodeName, metav1.GetOptions{})
		return err == nil && !isReady(got)
	}, settle, lookAgain)
}

func TestStatusesOutliveTheAPIServersAbsence(t *testing.T) {
	n := startNode(t)
	ns := newNamespace(t)
	pod := createPod(t, podNamed(ns, "a"))
	waitRunning(t, ns, 1)

	env.stop()
	entry, ok := n.manager.pods.Get(pod.UID)
	require.True(t, ok)
	st := entry.Pod.Status
	st.Message = "said to nobody"
	n.manager.pods.SetStatus(pod.UID, st)
	var err error
	env.stop, err = startControlPlane(env.dir)
	require.NoError(t, err)

	require.Eventually(t, func() bool {
		got, err := env.client.CoreV1().Pods(ns).Get(t.Context(), "a", metav1.GetOptions{})
		return err == nil && got.Status.Message == "said to nobody"
	}, 2*settle, lookAgain)
	createPod(t, podNamed(ns, "b"))
	waitRunning(t, ns, 2)
}

func TestAPIServerKnowsTheNode(t *testing.T) {
	clients, err := provider.NewClients(env.node, "vic-test")
	require.NoError(t, err)
	username, err := clients.Check(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "system:node:"+nodeName, username)
}

// BenchmarkPodsToRunning says how long that takes.
func TestManyPodsAtOnce(t *testing.T) {
	startNode(t)
	createMany(t, newNamespace(t), 300)
}

func BenchmarkPodsToRunning(b *testing.B) {
	startNode(b)
	const count = 500
	for b.Loop() {
		took := createMany(b, newNamespace(b), count)
		b.ReportMetric(float64(count)/took.Seconds(), "pods/s")
	}
}

func createMany(tb testing.TB, ns string, count int) time.Duration {
	tb.Helper()
	names := make(chan string)
	var creators sync.WaitGroup
	begin := time.Now()
	for range 16 {
		creators.Go(func() {
			for name := range names {
				_, err := env.client.CoreV1().Pods(ns).Create(context.Background(), podNamed(ns, name), metav1.CreateOptions{})
				assert.NoError(tb, err)
			}
		})
	}
	for i := range count {
		names <- fmt.Sprintf("p%d", i)
	}
	close(names)
	creators.Wait()
	waitRunning(tb, ns, count)
	return time.Since(begin)
}

type dialer func(url string) (remotecommand.Executor, error)

var executors = map[string]dialer{
	"SPDY": func(url string) (remotecommand.Executor, error) {
		parsed, err := neturl.Parse(url)
		if err != nil {
			return nil, err
		}
		return remotecommand.NewSPDYExecutor(env.admin, http.MethodPost, parsed)
	},
	"a websocket": func(url string) (remotecommand.Executor, error) {
		return remotecommand.NewWebSocketExecutor(env.admin, http.MethodGet, url)
	},
}

func run(t *testing.T, dial dialer, ns, stdin string, command ...string) (string, error) {
	t.Helper()
	request := env.client.CoreV1().RESTClient().Post().Resource("pods").Namespace(ns).Name("a").SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: "c", Command: command, Stdin: true, Stdout: true}, scheme.ParameterCodec)
	executor, err := dial(request.URL().String())
	require.NoError(t, err)
	var out bytes.Buffer
	err = executor.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdin: strings.NewReader(stdin), Stdout: &out})
	return out.String(), err
}

func forward(t *testing.T, ns, text string) string {
	t.Helper()
	url := env.client.CoreV1().RESTClient().Post().Resource("pods").Namespace(ns).Name("a").SubResource("portforward").URL()
	transport, upgrader, err := spdy.RoundTripperFor(env.admin)
	require.NoError(t, err)
	stop, ready := make(chan struct{}), make(chan struct{})
	forwarder, err := portforward.New(spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, url),
		[]string{"0:80"}, stop, ready, io.Discard, io.Discard)
	require.NoError(t, err)
	var forwarding sync.WaitGroup
	forwarding.Go(func() { assert.NoError(t, forwarder.ForwardPorts()) })
	defer forwarding.Wait()
	defer close(stop)
	waitFor(t, "port-forward is ready", ready)
	ports, err := forwarder.GetPorts()
	require.NoError(t, err)
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", fmt.Sprintf("localhost:%d", ports[0].Local))
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, text)
	require.NoError(t, err)
	answer := make([]byte, len(text))
	_, err = io.ReadFull(conn, answer)
	require.NoError(t, err)
	return string(answer)
}

func get(t *testing.T, url, token string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // it may not be signed yet
	}}
	response, err := client.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	require.NoError(t, err)
	return response.StatusCode
}

func tokenOf(t *testing.T, ns string) string {
	t.Helper()
	request, err := env.client.CoreV1().ServiceAccounts(ns).CreateToken(t.Context(), "default",
		&authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	require.NoError(t, err)
	return request.Status.Token
}

func allow(t *testing.T, ns, resource, verb string) {
	t.Helper()
	rbac := env.client.RbacV1()
	_, err := rbac.ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: ns},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{resource}, Verbs: []string{verb}}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = rbac.ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: ns},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: ns},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: ns, Name: "default"}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
}

func waitTick(t *testing.T) {
	t.Helper()
	select {
	case <-t.Context().Done():
	case <-time.After(lookAgain):
	}
}

func isReady(n *corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
