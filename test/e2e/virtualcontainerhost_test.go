//go:build e2e

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"

	"github.com/virtual-kubelet/vic/api/v1alpha1"
	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/internal/version"
)

// vicNamespace is where the chart is installed.
const vicNamespace = "vic-system"

// controller is a `vic node` that serves the cluster's VirtualContainerHosts, with the rights that the chart gives it.
type controller struct {
	*cluster
	kubeconfig, config string
	guests             netip.AddrPort
}

// installController installs what the chart has, but for the program itself, which runs here.
func installController(t *testing.T, v *simulation) *controller {
	t.Helper()
	c := &controller{
		cluster: newCluster(filepath.Join(t.TempDir(), "s")), kubeconfig: filepath.Join(t.TempDir(), "kubeconfig"),
		config: filepath.Join(t.TempDir(), "node.yaml"), guests: netip.AddrPortFrom(v.network.Gateway(), uint16(freePort(t))),
	}
	c.client = shared.client
	own := c.cluster
	t.Cleanup(func() { own.purge(t) })
	_, err := shared.client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: vicNamespace}}, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, shared.client.CoreV1().Namespaces().Delete(context.Background(), vicNamespace, metav1.DeleteOptions{}))
	})
	shared.kubectl(t, "apply", "-f", "../../charts/vic/crds")
	only := []string{"-s", "templates/rbac.yaml", "-s", "templates/serviceaccount.yaml", "-s", "templates/configmap.yaml"}
	out, err := exec.CommandContext(t.Context(), bin("helm"), append([]string{
		"template", "vic", "../../charts/vic", "-n", vicNamespace, "--kube-version", strings.TrimPrefix(version.Kubernetes, "v"),
		"--set", "image.repository=vic", "--set", "rbac.namespaces={*}", "--set", fmt.Sprintf("guests.port=%d", c.guests.Port()),
	}, only...)...).Output()
	require.NoError(t, err)
	apply := shared.kubectlCommand(t.Context(), "apply", "-f", "-")
	apply.Stdin = strings.NewReader(string(out))
	said, err := apply.CombinedOutput()
	require.NoError(t, err, string(said))

	settings, err := shared.client.CoreV1().ConfigMaps(vicNamespace).Get(t.Context(), "vic", metav1.GetOptions{})
	require.NoError(t, err)
	text := strings.NewReplacer("/var/lib/vic", c.dir, ":8081", fmt.Sprintf("127.0.0.1:%d", freePort(t))).Replace(settings.Data["node.yaml"])
	require.NoError(t, os.WriteFile(c.config, []byte(text), 0o600))
	c.writeKubeconfig(t)
	return c
}

// writeKubeconfig writes one with a token of the chart's service account.
func (c *controller) writeKubeconfig(t *testing.T) {
	t.Helper()
	admin, err := clientcmd.LoadFromFile(shared.kubeconfig())
	require.NoError(t, err)
	admin.AuthInfos[admin.Contexts[admin.CurrentContext].AuthInfo] = &clientcmdapi.AuthInfo{
		Token: strings.TrimSpace(shared.kubectl(t, "-n", vicNamespace, "create", "token", "vic")),
	}
	require.NoError(t, clientcmd.WriteToFile(*admin, c.kubeconfig))
}

// begin runs it until the test ends.
func (c *controller) begin(t *testing.T) {
	t.Helper()
	c.startNode(t, c.kubeconfig, c.config)
}

// vch is a VirtualContainerHost on a vCenter, with every second half of its network's addresses.
func (c *controller) vch(v *simulation, name string, first, last int) *v1alpha1.VirtualContainerHost {
	at := func(n int) string {
		a := v.network.Subnet().Addr().As4()
		a[3] = byte(n)
		return netip.AddrFrom4(a).String()
	}
	return &v1alpha1.VirtualContainerHost{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "VirtualContainerHost"},
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: config.VCH{
			Subnet: v.network.Subnet().String(), Limits: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("7")},
			VSphere: &config.VSphere{
				Address: v.Target().Address, CredentialsSecret: "vcenter",
				Pool: "/DC0/host/DC0_C0/Resources/" + name, Folder: "/DC0/vm/" + name, BootISO: "[LocalDS_0] isos/boot.iso",
				Network: "/DC0/network/DC0_DVPG0", Gateway: v.network.Gateway().String(),
				FirstAddress: at(first), LastAddress: at(last), AdvertiseAddresses: []string{c.guests.String()},
			},
		},
	}
}

// apply has the cluster know the VCH, as kubectl apply does.
func (c *controller) apply(t *testing.T, vch *v1alpha1.VirtualContainerHost) (string, error) {
	t.Helper()
	text, err := yaml.Marshal(vch)
	require.NoError(t, err)
	cmd := shared.kubectlCommand(t.Context(), "apply", "-f", "-")
	cmd.Stdin = strings.NewReader(string(text))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// wait waits until a VCH is as is says; nil is one that is gone.
func (c *controller) wait(t *testing.T, name, what string, is func(*v1alpha1.VirtualContainerHost) bool) {
	t.Helper()
	c.eventually(t, name+" "+what, func(context.Context) (bool, string) {
		out, err := shared.tryKubectl(t, "get", "vch", name, "-o", "json", "--ignore-not-found")
		if err != nil {
			return false, out
		}
		if strings.TrimSpace(out) == "" {
			return is(nil), "gone"
		}
		var vch v1alpha1.VirtualContainerHost
		require.NoError(t, json.Unmarshal([]byte(out), &vch))
		return is(&vch), out
	})
}

// says reports whether a VCH has a condition with that status and with those words in its message.
func says(kind string, status metav1.ConditionStatus, words string) func(*v1alpha1.VirtualContainerHost) bool {
	return func(vch *v1alpha1.VirtualContainerHost) bool {
		if vch == nil {
			return false
		}
		c := meta.FindStatusCondition(vch.Status.Conditions, kind)
		return c != nil && c.Status == status && c.ObservedGeneration == vch.Generation && strings.Contains(c.Message, words)
	}
}

// TestTheChartSaysWhosePodsMayRun renders rules for namespaces.
func TestTheChartSaysWhosePodsMayRun(t *testing.T) {
	t.Parallel()
	render := func(namespaces string) (string, error) {
		out, err := exec.CommandContext(t.Context(), bin("helm"), "template", "vic", "../../charts/vic", "-n", vicNamespace,
			"--kube-version", strings.TrimPrefix(version.Kubernetes, "v"), "--set", "image.repository=vic", "--set", "rbac.namespaces={"+namespaces+"}",
			"-s", "templates/rbac.yaml").CombinedOutput()
		return string(out), err
	}
	for namespaces, why := range map[string]string{
		"": "rbac.namespaces is needed", "kube-system": "of kube-system are not for pods", "team-a,vic-system": "of vic-system are not for pods",
		"*,team-a": `"*" stands alone`,
	} {
		out, err := render(namespaces)
		require.Error(t, err, namespaces)
		assert.Contains(t, out, why)
	}
	const everywhere = "kind: ClusterRoleBinding\nmetadata:\n  name: vic-objects\n"
	out, err := render("team-a,team-b")
	require.NoError(t, err, out)
	assert.NotContains(t, out, everywhere)
	for _, namespace := range []string{"team-a", "team-b"} {
		assert.Contains(t, out, fmt.Sprintf("kind: RoleBinding\nmetadata:\n  name: vic-objects\n  namespace: %q\n", namespace))
	}
	out, err = render("*")
	require.NoError(t, err, out)
	assert.Contains(t, out, everywhere)
}

// TestNoVirtualContainerHostSaysWhoseItsNodeIs tries labels that are for vic alone.
func TestNoVirtualContainerHostSaysWhoseItsNodeIs(t *testing.T) {
	t.Parallel()
	shared.kubectl(t, "apply", "-f", "../../charts/vic/crds")
	for label, refused := range map[string]bool{"rack": false, "type": true, "kubernetes.io/hostname": true, config.OwnerLabel: true} {
		text, err := yaml.Marshal(&v1alpha1.VirtualContainerHost{
			TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "VirtualContainerHost"},
			ObjectMeta: metav1.ObjectMeta{Name: "labelled"},
			Spec:       config.VCH{QEMU: &config.QEMU{}, Labels: map[string]string{label: "x"}},
		})
		require.NoError(t, err)
		cmd := shared.kubectlCommand(t.Context(), "apply", "--dry-run=server", "-f", "-")
		cmd.Stdin = strings.NewReader(string(text))
		out, err := cmd.CombinedOutput()
		if refused {
			require.Error(t, err, label)
			assert.Contains(t, string(out), "are set by vic")
		} else {
			require.NoError(t, err, string(out))
		}
	}
}

// TestVirtualContainerHosts serves two resource pools as two nodes by one process, as objects of the cluster say.
func TestVirtualContainerHosts(t *testing.T) {
	t.Parallel()
	v := startVCenter(t)
	c := installController(t, v)
	former := c.cluster
	t.Cleanup(func() { // whichever serves at the end
		if c.cluster != former {
			c.purge(t)
		}
	})
	first, second := c.vch(v, "pool-a", 100, 149), c.vch(v, "pool-b", 150, 199)
	target := v.Target()
	env := []string{"GOVC_TLS_CA_CERTS=" + target.CAFile}
	for _, vch := range []*v1alpha1.VirtualContainerHost{first, second} {
		m := &member{cluster: &cluster{env: env}, config: filepath.Join(t.TempDir(), "vch.yaml")} // of the object itself
		text, err := yaml.Marshal(vch)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(m.config, text, 0o600))
		out, err := m.vch(t, "create", "--boot-iso", bin("guest/boot.iso"), "--user", target.User, "--password-file", target.PasswordFile)
		require.NoError(t, err, out)
	}

	c.begin(t)
	out, err := c.apply(t, first)
	require.NoError(t, err, out)
	c.wait(t, "pool-a", "waits for its credentials", says("Accepted", metav1.ConditionFalse, `Secret vic-system/vcenter`))
	shared.kubectl(t, "-n", vicNamespace, "create", "secret", "generic", "vcenter", "--from-literal=username="+target.User,
		"--from-file=password="+target.PasswordFile, "--from-file=ca.crt="+target.CAFile)
	out, err = c.apply(t, second)
	require.NoError(t, err, out)
	for _, name := range []string{"pool-a", "pool-b"} {
		c.wait(t, name, "is Ready", says("Ready", metav1.ConditionTrue, ""))
		out, err := c.cluster.vic("image", "import", imageArchive, testImage, "--dir", filepath.Join(c.dir, "vchs", name)).CombinedOutput()
		require.NoError(t, err, string(out))
	}
	assert.Regexp(t, `(?m)^pool-a +pool-a +True +\S+ +0 `, shared.kubectl(t, "get", "vch"))
	node, err := shared.client.CoreV1().Nodes().Get(t.Context(), "pool-a", metav1.GetOptions{})
	require.NoError(t, err)
	assert.EqualValues(t, 7, node.Status.Capacity.Pods().Value(), "limits hold")

	ns := shared.namespace(t)
	on := func(node string) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Spec.NodeName = node } }
	a := shared.create(t, pod(ns, "a", sleepForever, small, on("pool-a")))
	b := shared.create(t, pod(ns, "b", sleepForever, small, on("pool-b")))
	a, b = c.waitReady(t, a), c.waitReady(t, b)
	v.waitVMs(t, c.cluster, ns, 2)
	c.wait(t, "pool-a", "counts its pod", func(vch *v1alpha1.VirtualContainerHost) bool { return vch.Status.InUse.Pods().Value() == 1 })

	t.Run("a change is applied, and pods run on", func(t *testing.T) {
		first.Spec.Labels = map[string]string{"rack": "r1"}
		out, err := c.apply(t, first)
		require.NoError(t, err, out)
		shared.eventually(t, "the node has the label", func(ctx context.Context) (bool, string) {
			n, err := shared.client.CoreV1().Nodes().Get(ctx, "pool-a", metav1.GetOptions{})
			return err == nil && n.Labels["rack"] == "r1", fmt.Sprint(err)
		})
		c.wait(t, "pool-a", "is Ready", says("Ready", metav1.ConditionTrue, ""))
		assert.Zero(t, restarts(c.waitReady(t, a)))
	})
	t.Run("a change that can't be is refused, with a reason", func(t *testing.T) {
		elsewhere := first.DeepCopy()
		elsewhere.Spec.VSphere.Folder = "/DC0/vm/elsewhere"
		out, err := c.apply(t, elsewhere)
		require.Error(t, err)
		assert.Contains(t, out, "folder can't change")
		lost := first.DeepCopy()
		lost.Spec.VSphere.Pool = "/DC0/host/DC0_C0/Resources/none"
		out, err = c.apply(t, lost)
		require.NoError(t, err, out)
		c.wait(t, "pool-a", "is refused", says("Accepted", metav1.ConditionFalse, "resource pool"))
		c.wait(t, "pool-a", "is Ready as it was", says("Ready", metav1.ConditionTrue, ""))
		out, err = c.apply(t, first)
		require.NoError(t, err, out)
		c.wait(t, "pool-a", "is accepted", says("Accepted", metav1.ConditionTrue, ""))
	})
	t.Run("QEMU is refused, with a reason", func(t *testing.T) {
		here := &v1alpha1.VirtualContainerHost{TypeMeta: first.TypeMeta, ObjectMeta: metav1.ObjectMeta{Name: "here"}, Spec: config.VCH{QEMU: &config.QEMU{}}}
		out, err := c.apply(t, here)
		require.NoError(t, err, out)
		c.wait(t, "here", "is refused", says("Accepted", metav1.ConditionFalse, "spec.qemu: "))
		shared.kubectl(t, "delete", "vch", "here", "--timeout=60s")
		both := here.DeepCopy()
		both.Spec.VSphere = first.Spec.VSphere
		out, err = c.apply(t, both)
		require.Error(t, err)
		assert.Contains(t, out, "exactly one of qemu and vsphere")
	})
	// On another machine: it has nothing of the leader's directory.
	elsewhere := t.TempDir()
	t.Run("the next process takes over when the leader is killed", func(t *testing.T) {
		next := newCluster(filepath.Join(elsewhere, "s"))
		text, err := os.ReadFile(c.config)
		require.NoError(t, err)
		config := filepath.Join(elsewhere, "node.yaml")
		free := fmt.Sprintf("127.0.0.1:%d", freePort(t))
		text = regexp.MustCompile(`127\.0\.0\.1:\d+`).ReplaceAll([]byte(strings.ReplaceAll(string(text), c.dir, next.dir)), []byte(free))
		require.NoError(t, os.WriteFile(config, text, 0o600))
		next.client = shared.client
		next.startNode(t, c.kubeconfig, config)
		c.kill()
		c.cluster = next
		for _, p := range []*corev1.Pod{a, b} {
			c.eventually(t, "pod "+p.Name+" is served again", func(context.Context) (bool, string) {
				got := shared.kubectl(t, "-n", ns, "get", "pod", p.Name, "-o", "wide")
				return strings.Contains(next.out.String(), "node="+p.Spec.NodeName), got + next.out.String()
			})
			assert.Zero(t, restarts(c.waitReady(t, p)))
		}
	})
	t.Run("a VCH that is deleted waits for its pods, or drains them", func(t *testing.T) {
		shared.kubectl(t, "delete", "vch", "pool-b", "--wait=false")
		c.wait(t, "pool-b", "is refused to go", says("Removable", metav1.ConditionFalse, ns+"/b"))
		node, err := shared.client.CoreV1().Nodes().Get(t.Context(), "pool-b", metav1.GetOptions{})
		require.NoError(t, err)
		assert.True(t, node.Spec.Unschedulable)
		assert.Zero(t, restarts(c.waitReady(t, b)))
		shared.kubectl(t, "patch", "vch", "pool-b", "--type=merge", "-p", `{"spec":{"deletionPolicy":"Drain"}}`)
		c.wait(t, "pool-b", "is gone", func(vch *v1alpha1.VirtualContainerHost) bool { return vch == nil })
		c.waitGone(t, b)
		_, err = shared.client.CoreV1().Nodes().Get(t.Context(), "pool-b", metav1.GetOptions{})
		require.True(t, apierrors.IsNotFound(err))
		v.waitVMs(t, c.cluster, ns, 1)
		assert.Zero(t, restarts(c.waitReady(t, a)), "the other node is as it was")
	})
	c.delete(t, a)
	shared.kubectl(t, "delete", "vch", "pool-a", "--timeout="+patience.String())
	v.waitVMs(t, c.cluster, ns, 0)
}
