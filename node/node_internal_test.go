package node

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/version"
	"github.com/virtual-kubelet/vic/node/statedir"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
	"github.com/virtual-kubelet/vic/portlayer/portlayertest/memhv"
)

var loopback = netip.MustParseAddr("127.0.0.1")

// memory is a hypervisor whose VMs are in memory.
type memory struct {
	*memhv.Hypervisor
	closed  int
	refused error // of Check, Open and Probe
	purged  []string
}

func newMemory() *memory { return &memory{Hypervisor: memhv.New(memhv.Config{})} }

func (m *memory) Check() error                      { return m.refused }
func (m *memory) Probe(context.Context, *VCH) error { return m.refused }

func (m *memory) Open(context.Context, *VCH, *statedir.Dir) (*Host, error) {
	if m.refused != nil {
		return nil, m.refused
	}
	return &Host{
		Hypervisor: m.Hypervisor, Scope: portlayer.ScopeConfig{Name: "pods", Subnet: netip.MustParsePrefix("10.9.8.0/24")},
		Capabilities: podvm.Capabilities{Hypervisor: "memory"}, InstanceType: "vic-memory", System: "memory", Network: "bridge",
		RunsOn: "memory", Close: func() { m.closed++ },
	}, nil
}

func (m *memory) Purge(_ context.Context, state *statedir.Dir) error {
	m.purged = append(m.purged, state.Path)
	return m.refused
}

// nodeConfig is that of a node called n.
func nodeConfig(t *testing.T, m *memory, change func(*config.Entry)) Config {
	t.Helper()
	settings := config.DefaultNode()
	e := config.Entry{Name: "n"}
	change(&e)
	e.SetDefaults()
	state, err := statedir.At(t.TempDir())
	require.NoError(t, err)
	v := &VCH{Entry: e}
	return Config{
		Settings: settings, VCH: v, State: state, API: serveAPI(t, "system:node:n").config(), Address: loopback,
		Open: func(ctx context.Context) (*Host, error) { return m.Open(ctx, v, state) },
	}
}

func unchangedEntry(*config.Entry) {}

func TestANodeIsMadeOfWhatItsSettingsSay(t *testing.T) {
	m := newMemory()
	cfg := nodeConfig(t, m, func(e *config.Entry) {
		e.NodeName, e.Labels = "named", map[string]string{"rack": "r1"}
		e.Reserved = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")}
	})
	cfg.Settings.GuestImage = t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(cfg.Settings.GuestImage, "manifest.json"), []byte(`{"kernelRelease": "6.12.0"}`), 0o600))
	n, err := Open(t.Context(), cfg)
	require.NoError(t, err)
	defer n.Close(t.Context())
	d := n.description()
	assert.Equal(t, "127.0.0.1", d.InternalIP)
	assert.Equal(t, "vic-memory", d.InstanceType)
	assert.Equal(t, map[string]string{"rack": "r1", podNetworkLabel: "bridge"}, d.Labels)
	assert.Equal(t, []corev1.Taint{config.DefaultTaint()}, d.Taints)
	assert.Equal(t, cfg.VCH.Reserved, d.Reserved)
	assert.Equal(t, "6.12.0", d.KernelVersion)
	assert.Equal(t, version.Kubernetes+"-vic-"+version.Version, d.KubeletVersion)
	assert.Contains(t, d.OSImage, ", pod VMs on memory")
	assert.Equal(t, "memory", n.RunsOn())
	assert.Equal(t, []net.IP{net.IP(loopback.AsSlice())}, n.CertificateIPs())
	capacity, err := n.Capacity(t.Context())
	require.NoError(t, err)
	assert.NotZero(t, capacity.MemoryBytes)
	stored, err := n.Images().List()
	require.NoError(t, err)
	assert.Empty(t, stored)
}

func TestANodeThatCannotBeOpenedLetsGoOfWhatItHas(t *testing.T) {
	tests := map[string]struct {
		change func(*Config)
		says   string
		opened bool
	}{
		"no hypervisor": {func(c *Config) { c.Open = func(context.Context) (*Host, error) { return nil, errors.New("no KVM") } }, "no KVM", false},
		"a bad address": {func(c *Config) { c.VCH.Address = "here" }, "address: ", false},
		"a limit that is none": {func(c *Config) {
			c.Settings.ImageLimits = map[string]resource.Quantity{"size": resource.MustParse("1")}
		}, "imageLimits.size: no such limit", true},
		"all of it is reserved": {func(c *Config) { c.VCH.Reserved = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1000k")} }, "reserved.cpu: 1M leaves nothing", true},
		"a bad program":         {func(c *Config) { c.Settings.ImageCredentialProviderConfig = "/none" }, "imageCredentialProviderConfig: ", true},
		"a port in use": {func(c *Config) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, l.Close()) })
			c.VCH.Port, c.PortSetting = int32(l.Addr().(*net.TCPAddr).Port), "vch.port"
		}, "vch.port", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := newMemory()
			cfg := nodeConfig(t, m, unchangedEntry)
			tt.change(&cfg)
			_, err := Open(t.Context(), cfg)
			require.ErrorContains(t, err, tt.says)
			assert.Equal(t, tt.opened, m.closed == 1)
		})
	}
}

// commit makes a VM of a pod of that node.
func commit(t *testing.T, m *memory, uid, cluster, node string) {
	t.Helper()
	_, err := m.Create(t.Context(), portlayer.Spec{
		ID: uid, Owner: portlayer.Owner{Kind: "Pod", Cluster: cluster, Namespace: "n", Name: uid, UID: uid, Node: node},
		Size: portlayer.Size{VCPUs: 1, CPUMilli: 500, MemoryBytes: 1 << 30},
	})
	require.NoError(t, err)
}

func TestANodeThatIsRemovedTakesItsOwnVMsAlone(t *testing.T) {
	m := newMemory()
	commit(t, m, "mine", "cluster-1", "n")
	commit(t, m, "others", "cluster-1", "m")
	commit(t, m, "foreign", "cluster-2", "n")
	n, err := Open(t.Context(), nodeConfig(t, m, unchangedEntry))
	require.NoError(t, err)
	defer n.Close(t.Context())
	_, inUse, err := n.Offers(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 3, inUse.Pods().Value())
	assert.EqualValues(t, 1500, inUse.Cpu().MilliValue())
	assert.EqualValues(t, 3<<30, inUse.Memory().Value())
	require.NoError(t, n.RemoveVMs(t.Context()))
	vms, err := m.List(t.Context())
	require.NoError(t, err)
	var left []string
	for _, vm := range vms {
		left = append(left, vm.ID())
	}
	assert.ElementsMatch(t, []string{"others", "foreign"}, left)
}

// serverOf serves the settings of one node.
func serverOf(t *testing.T, m *memory, user string, change func(*config.Node)) *server {
	t.Helper()
	settings := config.DefaultNode()
	settings.Dir, settings.VCH = filepath.Join(t.TempDir(), "state"), &config.Entry{Name: "n"}
	change(settings)
	settings.SetDefaults()
	return &server{ServerConfig: ServerConfig{Settings: settings, API: serveAPI(t, user).config(), Hypervisors: Hypervisors{QEMU: m, VSphere: m}}}
}

func TestWhatIsWrongIsFoundBeforeAnythingIsTouched(t *testing.T) {
	m := newMemory()
	tests := map[string]struct {
		change  func(*config.Node)
		refused error
		says    string
	}{
		"a hypervisor that is not there": {func(*config.Node) {}, errors.New("no QEMU"), "no QEMU"},
		"a file that is not there":       {func(n *config.Node) { n.RegistryHostsDir = "/none" }, nil, "registryHostsDir: "},
		"a collector that is none":       {func(n *config.Node) { n.TracingEndpoint = "ftp://c" }, nil, "tracingEndpoint: "},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := serverOf(t, m, "system:node:n", tt.change)
			m.refused = tt.refused
			require.ErrorContains(t, Serve(t.Context(), s.ServerConfig), tt.says)
			assert.NoDirExists(t, s.Settings.Dir)
		})
	}
	m.refused = nil
	s := serverOf(t, m, "system:node:n", func(*config.Node) {})
	s.API.Host = "https://127.0.0.1:1"
	require.ErrorContains(t, Serve(t.Context(), s.ServerConfig), "API server https://127.0.0.1:1 (--kubeconfig) does not answer: ")
	assert.NoDirExists(t, s.Settings.Dir)
}

func TestAUserWhoGetsNoServingCertificateIsWarnedAtOnce(t *testing.T) {
	var log bytes.Buffer
	ctx := logging.Into(t.Context(), slog.New(slog.NewTextHandler(&log, nil)))
	require.NoError(t, serverOf(t, newMemory(), "somebody", func(*config.Node) {}).check(ctx))
	assert.Contains(t, log.String(), `msg="serving certificate will not be signed: the user is not system:node:NODE" user=somebody node=n`)
	log.Reset()
	require.NoError(t, serverOf(t, newMemory(), "system:node:n", func(*config.Node) {}).check(ctx))
	several := func(n *config.Node) { n.VCH, n.VCHs = nil, []config.Entry{{Name: "a"}} }
	require.NoError(t, serverOf(t, newMemory(), "somebody", several).check(ctx))
	assert.Empty(t, log.String(), "with several nodes the user is none of them")
}

func TestANodeOfSeveralHasAStateDirectoryOfItsOwn(t *testing.T) {
	m := newMemory()
	s := serverOf(t, m, "u", func(*config.Node) {})
	var err error
	s.state, err = statedir.Open(s.Settings.Dir)
	require.NoError(t, err)
	defer s.state.Close()
	s.address = loopback
	v := &VCH{Entry: config.Entry{Name: "a", VCH: config.VCH{NodeName: "node-a"}}}
	v.SetDefaults()
	spec, err := s.spec(v)
	require.NoError(t, err)
	require.NoError(t, spec.Check(t.Context()))
	n, err := spec.Open(t.Context())
	require.NoError(t, err)
	dir := filepath.Join(s.Settings.Dir, "vchs", "node-a")
	assert.DirExists(t, dir)
	_, err = spec.Open(t.Context())
	require.ErrorIs(t, err, statedir.ErrInUse, "it is open once")
	n.Close(t.Context())
	assert.Equal(t, 1, m.closed)
	m.refused = errors.New("no such pool")
	_, err = spec.Open(t.Context())
	require.ErrorIs(t, err, m.refused)
	m.refused = nil
	n, err = spec.Open(t.Context())
	require.NoError(t, err, "the directory is unlocked")
	n.Close(t.Context())

	require.NoError(t, s.purge(t.Context(), &v.Entry))
	assert.Equal(t, []string{dir}, m.purged)
	assert.NoDirExists(t, dir)
}

func TestAnEntryMayHaveItsCredentialsInASecret(t *testing.T) {
	s := serverOf(t, newMemory(), "u", func(n *config.Node) { n.Namespace = "vic-system" })
	plain := &config.Entry{Name: "a", VCH: config.VCH{VSphere: &config.VSphere{User: "u"}}}
	v, err := s.ofEntry(t.Context(), plain)
	require.NoError(t, err)
	assert.Nil(t, v.Credentials)

	api := serveAPI(t, "u")
	s.API = api.config()
	api.put("/api", &metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"}})
	api.put("/apis", &metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}})
	api.put("/api/v1", &metav1.APIResourceList{
		TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: "v1",
		APIResources: []metav1.APIResource{{Name: "secrets", Namespaced: true, Kind: "Secret"}},
	})
	named := &config.Entry{Name: "a", VCH: config.VCH{VSphere: &config.VSphere{CredentialsSecret: "vcenter"}}}
	_, err = s.ofEntry(t.Context(), named)
	require.ErrorContains(t, err, "vsphere.credentialsSecret: Secret vic-system/vcenter: ")
	api.put("/api/v1/namespaces/vic-system/secrets/vcenter", &corev1.Secret{
		TypeMeta: metav1.TypeMeta{Kind: "Secret", APIVersion: "v1"}, ObjectMeta: metav1.ObjectMeta{Namespace: "vic-system", Name: "vcenter"},
		Data: map[string][]byte{"username": []byte("u"), "password": []byte("p\n")},
	})
	v, err = s.ofEntry(t.Context(), named)
	require.NoError(t, err)
	assert.Equal(t, "u", v.Credentials.Username)
	password, err := v.Credentials.Password(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "p", password)
}

func TestTheNodesAddressIsTowardsTheAPIServer(t *testing.T) {
	for _, host := range []string{"https://127.0.0.1:1", "https://[::1]", "https://no such host"} {
		got, err := addressTowards(&rest.Config{Host: host})
		if host == "https://no such host" {
			require.ErrorContains(t, err, "address of the API server: ")
			continue
		}
		want, hostErr := HostAddress()
		assert.Equal(t, want, got, "loopback reaches nobody else")
		assert.Equal(t, hostErr == nil, err == nil)
	}
}

func TestNoLabelOfAUserSaysWhoseANodeIs(t *testing.T) {
	v := &VCH{Owner: "u-1", Entry: config.Entry{VCH: config.VCH{Labels: map[string]string{config.OwnerLabel: "u-2", "rack": "r1"}}}}
	assert.Equal(t, map[string]string{config.OwnerLabel: "u-1", "rack": "r1"}, v.labels())
	v.Owner = ""
	assert.Equal(t, map[string]string{"rack": "r1"}, v.labels())
}

func TestOnlyAnotherRevisionOpensANodeAnew(t *testing.T) {
	of := func(change func(*VCH)) string {
		v := &VCH{Entry: config.Entry{Name: "a", VCH: config.VCH{VSphere: &config.VSphere{Address: "v"}}}}
		change(v)
		revision, err := v.revision()
		require.NoError(t, err)
		return revision
	}
	same := of(func(*VCH) {})
	assert.Equal(t, same, of(func(v *VCH) { v.Credentials = nil }))
	for name, change := range map[string]func(*VCH){
		"a label":     func(v *VCH) { v.Labels = map[string]string{"a": "b"} },
		"a limit":     func(v *VCH) { v.Limits = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("4")} },
		"no taints":   func(v *VCH) { v.Taints = &[]corev1.Taint{} },
		"an owner":    func(v *VCH) { v.Owner = "u" },
		"a vCenter":   func(v *VCH) { v.VSphere.Address = "w" },
		"another one": func(v *VCH) { v.Name = "b" },
	} {
		assert.NotEqual(t, same, of(change), name)
	}
}

func TestANodeIsOfOneCluster(t *testing.T) {
	m := newMemory()
	cfg := nodeConfig(t, m, unchangedEntry)
	n, err := Open(t.Context(), cfg)
	require.NoError(t, err)
	n.Close(t.Context())
	assert.Equal(t, 1, m.closed)

	api := serveAPI(t, "system:node:n")
	api.put("/api/v1/namespaces/kube-system", &corev1.Namespace{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: metav1.NamespaceSystem, UID: "cluster-2"},
	})
	cfg.API = api.config()
	_, err = Open(t.Context(), cfg)
	require.ErrorIs(t, err, statedir.ErrOfAnother)
	require.ErrorContains(t, err, "is of cluster cluster-1, another one than cluster-2")
	require.ErrorContains(t, err, "vic up --purge --dir "+cfg.State.Path)
	assert.Equal(t, 1, m.closed, "its hypervisor was not opened")
}
