package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/version"
	"github.com/virtual-kubelet/vic/operations/plan"
	"github.com/virtual-kubelet/vic/persona"
	"github.com/virtual-kubelet/vic/portlayer/qemu"
	"github.com/virtual-kubelet/vic/portlayer/rundir"
	"github.com/virtual-kubelet/vic/provider"
	"github.com/virtual-kubelet/vic/standalone"
)

// kubeletPort is where a kubelet's API is expected.
const kubeletPort = 10250

// apiTimeout bounds the first question to the API server.
const apiTimeout = 15 * time.Second

// nodeFile is the configuration of `vic node`; docs/node.md shows every key.
type nodeFile struct {
	NodeName           string            `json:"nodeName"`
	Dir                string            `json:"dir"`
	Address            string            `json:"address"`
	Port               int               `json:"port"`
	GuestImage         string            `json:"guestImage"`
	CPU                int64             `json:"cpu"`
	Memory             string            `json:"memory"`
	EphemeralStorage   string            `json:"ephemeralStorage"`
	Pods               int64             `json:"pods"`
	Accel              string            `json:"accel"`
	Subnet             string            `json:"subnet"`
	Taint              *bool             `json:"taint"`
	Labels             map[string]string `json:"labels"`
	ClusterDNS         []string          `json:"clusterDNS"`
	ClusterDomain      string            `json:"clusterDomain"`
	InsecureRegistries []string          `json:"insecureRegistries"`
	RegistryMirrors    map[string]string `json:"registryMirrors"`
	// AllowContainer runs the node where its pod VMs end with a container.
	AllowContainer bool `json:"allowContainer"`

	Reserved                         map[string]resource.Quantity `json:"reserved"`
	EvictionPressureTransitionPeriod metav1.Duration              `json:"evictionPressureTransitionPeriod"`

	ContainerLogMaxSize  string `json:"containerLogMaxSize"`
	ContainerLogMaxFiles int    `json:"containerLogMaxFiles"`

	ImageGCHighThresholdPercent int             `json:"imageGCHighThresholdPercent"`
	ImageGCLowThresholdPercent  int             `json:"imageGCLowThresholdPercent"`
	ImageMinimumGCAge           metav1.Duration `json:"imageMinimumGCAge"`
	ImageGCPeriod               metav1.Duration `json:"imageGCPeriod"`
	RegistryHostsDir            string          `json:"registryHostsDir"`

	ImageCredentialProviderConfig string `json:"imageCredentialProviderConfig"`
	ImageCredentialProviderBinDir string `json:"imageCredentialProviderBinDir"`

	TracingEndpoint string `json:"tracingEndpoint"`

	ImageLimits map[string]resource.Quantity `json:"imageLimits"`

	// VSphere has pods run there, and not on this machine's QEMU.
	VSphere *vsphereFile `json:"vsphere"`
}

func newNodeCommand() *cobra.Command {
	var kubeconfig, config string
	cmd := &cobra.Command{
		Use:   "node",
		Short: "Join a cluster as a node, with this machine's QEMU or a pool of vSphere",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if kubeconfig == "" || config == "" {
				return misused("--kubeconfig and --config are needed (see docs/node.md)")
			}
			cfg, err := readNodeFile(config)
			if err != nil {
				return err
			}
			api, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
			if err != nil {
				return fmt.Errorf("--kubeconfig %s: %w", kubeconfig, err)
			}
			return cfg.run(cmd.Context(), api)
		},
	}
	cmd.Flags().StringVar(&kubeconfig, "kubeconfig", "", "`FILE` with the node's credential")
	cmd.Flags().StringVar(&config, "config", "", "`FILE` with the node's configuration (docs/node.md)")
	return cmd
}

// readNodeFile reads, completes and checks a configuration; a key that it does not know is refused.
func readNodeFile(path string) (*nodeFile, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--config: %w", err)
	}
	f := &nodeFile{
		Dir: "/var/lib/vic", Port: kubeletPort, Accel: "auto", ClusterDomain: clusterDomain, ContainerLogMaxFiles: rundir.DefaultSegments,
		ImageGCHighThresholdPercent: imageGCHigh, ImageGCLowThresholdPercent: imageGCLow,
		EvictionPressureTransitionPeriod: metav1.Duration{Duration: provider.DefaultPressureTransition},

		ImageMinimumGCAge: metav1.Duration{Duration: imageGCMinAge}, ImageGCPeriod: metav1.Duration{Duration: imageGCPeriod},
	}
	if err := yaml.UnmarshalStrict(text, f); err != nil {
		return nil, misused("--config %s: %w", path, err)
	}
	if err := f.check(); err != nil {
		return nil, misused("--config %s: %w", path, err)
	}
	return f, nil
}

func (f *nodeFile) check() error {
	if f.NodeName == "" {
		return errors.New("nodeName is missing")
	}
	flags, err := f.flags()
	if err != nil {
		return err
	}
	subnet, err := f.subnet()
	if err != nil {
		return err
	}
	if f.VSphere != nil {
		if err := f.VSphere.check(subnet); err != nil {
			return err
		}
	}
	if f.Address != "" {
		if _, err := netip.ParseAddr(f.Address); err != nil {
			return fmt.Errorf("address: %w", err)
		}
	}
	if f.Port < 1 || f.Port > 65535 {
		return fmt.Errorf("port %d is no port (1 to 65535)", f.Port)
	}
	for _, server := range f.ClusterDNS {
		if _, err := netip.ParseAddr(server); err != nil {
			return fmt.Errorf("clusterDNS: %w", err)
		}
	}
	for key, value := range f.Labels {
		if errs := append(content.IsLabelKey(key), content.IsLabelValue(value)...); len(errs) > 0 {
			return fmt.Errorf("labels: %s=%s: %s", key, value, errs[0])
		}
	}
	_, err = f.images()
	return errors.Join(flags.validate(), err)
}

func (f *nodeFile) flags() (nodeFlags, error) {
	flags := nodeFlags{name: f.NodeName, accel: f.Accel, guestImage: f.GuestImage, tracing: f.TracingEndpoint}
	flags.logs.maxFiles = f.ContainerLogMaxFiles
	flags.credentials = credentialFlags{f.ImageCredentialProviderConfig, f.ImageCredentialProviderBinDir}
	flags.imageGC = imageGCFlags{
		high: f.ImageGCHighThresholdPercent, low: f.ImageGCLowThresholdPercent,
		minAge: f.ImageMinimumGCAge.Duration, period: f.ImageGCPeriod.Duration,
	}
	var err error
	if flags.capacity, err = f.capacity(); err != nil {
		return nodeFlags{}, err
	}
	if f.ContainerLogMaxSize != "" {
		if err := flags.logs.maxSize.Set(f.ContainerLogMaxSize); err != nil {
			return nodeFlags{}, fmt.Errorf("containerLogMaxSize: %w", err)
		}
	}
	return flags, nil
}

// subnet is the zero prefix where none is configured.
func (f *nodeFile) subnet() (netip.Prefix, error) {
	if f.Subnet == "" {
		return netip.Prefix{}, nil
	}
	p, err := netip.ParsePrefix(f.Subnet)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("subnet: %w", err)
	}
	return p, nil
}

func (f *nodeFile) registries() registryFlags {
	r := registryFlags{insecure: f.InsecureRegistries, hostsDir: f.RegistryHostsDir}
	for host, mirror := range f.RegistryMirrors {
		r.mirrors = append(r.mirrors, host+"="+mirror)
	}
	return r
}

func (f *nodeFile) limits() (persona.Limits, error) {
	var limits persona.Limits
	for name, q := range f.ImageLimits {
		if err := setImageLimit(&limits, name, q); err != nil {
			return persona.Limits{}, fmt.Errorf("imageLimits: %s: %w", name, err)
		}
	}
	return limits, nil
}

// images is the configuration of the image store, but for its directory.
func (f *nodeFile) images() (persona.Config, error) {
	registries := f.registries()
	config, err := registries.config()
	if err != nil {
		return persona.Config{}, err
	}
	config.Limits, err = f.limits()
	return config, err
}

// run is the node until ctx ends; pod VMs outlive it.
func (f *nodeFile) run(ctx context.Context, api *rest.Config) (err error) {
	flags, err := f.flags()
	if err != nil {
		return err
	}
	images, err := f.images()
	if err != nil {
		return err
	}
	if f.VSphere == nil {
		if err := qemu.OutliveProcess(); err != nil && !f.AllowContainer {
			return fmt.Errorf("%w; run vic node on the host, or set allowContainer in --config", err)
		}
		if _, err := flags.files(); err != nil { // before anything is touched
			return err
		}
	}
	address, err := f.address(api)
	if err != nil {
		return err
	}
	if err := f.checkAPI(ctx, api); err != nil {
		return err
	}
	state, err := standalone.Open(f.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, state.Close()) }()
	n, err := openVCHNode(ctx, vchNodeConfig{
		Flags: flags, State: state, Rest: api, Images: images,
		VCH:     func(ctx context.Context) (*vch, error) { return f.openVCH(ctx, flags, state) },
		Address: address, Listen: netip.AddrPortFrom(address, uint16(f.Port)).String(),
		Taints: f.taints(), Labels: f.Labels, DNS: plan.ClusterDNS{Servers: f.ClusterDNS, Domain: f.ClusterDomain},
	})
	if err != nil {
		return err
	}
	defer n.close(ctx)
	go func() {
		select {
		case <-n.ready():
			// Without systemd there is nobody to tell, which is no error.
			if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
				logging.From(ctx).WarnContext(ctx, "systemd was not told that the node is ready", "err", err)
			}
			logging.From(ctx).InfoContext(ctx, "node became Ready", "node", f.NodeName, "address", address.String(), "port", strconv.Itoa(f.Port))
		case <-ctx.Done():
		}
	}()
	return n.run(ctx)
}

// openVCH opens what pods run on.
func (f *nodeFile) openVCH(ctx context.Context, flags nodeFlags, state *standalone.Dir) (*vch, error) {
	subnet, err := f.subnet()
	if err != nil {
		return nil, err
	}
	if f.VSphere != nil {
		return f.VSphere.open(ctx, flags, state, subnet)
	}
	image, err := flags.files()
	if err != nil {
		return nil, err
	}
	network, err := openNetwork(ctx, state, subnet)
	if err != nil {
		return nil, err
	}
	return openQEMU(ctx, flags, state, image, network)
}

// checkAPI asks the API server who this node is, so that a wrong address or credential is known before anything is made.
func (f *nodeFile) checkAPI(ctx context.Context, api *rest.Config) error {
	clients, err := provider.NewClients(api, "vic/"+version.Version)
	if err != nil {
		return fmt.Errorf("--kubeconfig: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	username, err := clients.Check(ctx)
	if err != nil {
		return fmt.Errorf("API server %s (--kubeconfig) does not answer: %w", api.Host, err)
	}
	if want := "system:node:" + f.NodeName; username != want {
		logging.From(ctx).WarnContext(ctx, "serving certificate will not be signed for this user", "user", username, "want", want)
	}
	return nil
}

func (f *nodeFile) taints() []corev1.Taint {
	if f.Taint != nil && !*f.Taint {
		return nil
	}
	return []corev1.Taint{provider.DefaultTaint()}
}

// address is the configured one, else the one that this machine reaches the API server from.
func (f *nodeFile) address(api *rest.Config) (netip.Addr, error) {
	if f.Address != "" {
		return netip.ParseAddr(f.Address)
	}
	u, err := url.Parse(api.Host)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("address of the API server: %w", err)
	}
	from, err := sourceAddress(u)
	if err != nil || from.IsLoopback() {
		return nodeAddress(nil)
	}
	return from, nil
}
