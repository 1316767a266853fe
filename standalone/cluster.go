package standalone

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/tracing"
	"github.com/virtual-kubelet/vic/node"
	"github.com/virtual-kubelet/vic/node/qemuvch"
	"github.com/virtual-kubelet/vic/node/statedir"
	"github.com/virtual-kubelet/vic/persona"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/qemu"
	"github.com/virtual-kubelet/vic/portlayer/qemu/network"
	"github.com/virtual-kubelet/vic/provider/certs"
)

const (
	// serviceAddress is that of the kubernetes Service: the first of the control plane's service range.
	serviceAddress = "10.96.0.1"
	// podAPIPort is where pods reach the API server on the gateway's address, which is this VCH's own.
	podAPIPort = 6443
	// shutdownTimeout bounds the end of all pods beyond their own grace periods.
	shutdownTimeout = 10 * time.Minute
)

// Config says what cluster to run.
type Config struct {
	// Settings are those of the process, with VCH, the only one: its defaults are set, and all is checked.
	Settings *config.Node
	// APIPort is the API server's on loopback; 0 keeps the last one, or takes a free one.
	APIPort int
	// AnyKubeletPort serves the kubelet API on a free port where the VCH's is in use.
	AnyKubeletPort bool
	// KeepPods leaves pod VMs running at the end, for the next run to adopt.
	KeepPods bool
	// Simulator has pods run on a vCenter that a process beside this one simulates.
	Simulator bool
	// Patience is called when the end begins, and returns what ends with the user's patience: then pods that run lose their power.
	Patience func(ctx context.Context) (context.Context, context.CancelFunc)
	// Events are called as the cluster runs.
	Events Events
}

// Events are what people want to know of a cluster that runs.
type Events struct {
	// Ready is called once the node is Ready and serves logs and exec. An error ends the cluster.
	Ready func(Summary) error
	// Stopping is called when the end begins, and CuttingPower when it is not patient with pods any more.
	Stopping, CuttingPower func()
}

// Summary is a cluster that is ready.
type Summary struct {
	NodeName string
	Capacity portlayer.Capacity
	// RunsOn names what pods run on.
	RunsOn string
	// UserNetwork says that pods have private networks, since this is not root.
	UserNetwork bool
	// Kubeconfig is the administrator's.
	Kubeconfig string
}

// cluster is a control plane and a node that run.
type cluster struct {
	Config
	state  *statedir.Dir
	binary string

	network *network.Network
	control *ControlPlane
	node    *node.Node
}

// Run runs a control plane and a node on this host until ctx ends. Then pods end within their grace periods, and all that
// runs with them.
func Run(ctx context.Context, cfg Config) (err error) {
	c := &cluster{Config: cfg}
	// All that can be wrong without touching anything is found first.
	if err := c.check(); err != nil {
		return err
	}
	if c.state, err = statedir.Open(cfg.Settings.Dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.state.Close()) }()
	endTraces, err := tracing.Send(ctx, tracing.Config{Endpoint: cfg.Settings.TracingEndpoint, NodeName: c.nodeName()})
	if err != nil {
		return err
	}
	defer endTraces()
	return c.run(ctx)
}

func (c *cluster) check() (err error) {
	if err := node.CheckFiles(c.Settings); err != nil {
		return err
	}
	if _, err := qemuvch.GuestImage(c.Settings); err != nil {
		return err
	}
	if c.binary, err = node.BesideProgram("vic-controlplane"); err != nil {
		return err
	}
	if _, err := os.Stat(c.binary); err != nil {
		return fmt.Errorf("control plane (make build builds it): %w", err)
	}
	return nil
}

func (c *cluster) nodeName() string { return c.Settings.VCH.NodeName }

func (c *cluster) run(ctx context.Context) (err error) {
	if c.network, err = openNetwork(ctx, c.state); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.closeNetwork(ctx)) }()
	c.control, err = StartControlPlane(ctx, ControlPlaneConfig{
		Binary: c.binary, Dir: c.state, APIPort: c.APIPort, PodListen: c.podListen(), NodeName: c.nodeName(),
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.control.Stop(context.WithoutCancel(ctx))) }()
	if err := c.openNode(ctx); err != nil {
		return err
	}
	defer c.node.Close(context.WithoutCancel(ctx))
	if err := importHello(ctx, c.node.Images()); err != nil {
		return err
	}
	return c.serve(ctx)
}

// podListen is the gateway's address, so that pods reach the API server; user-mode networking has none.
func (c *cluster) podListen() string {
	if c.network == nil {
		return ""
	}
	return netip.AddrPortFrom(c.network.Gateway(), podAPIPort).String()
}

func (c *cluster) openNode(ctx context.Context) error {
	address, err := c.address()
	if err != nil {
		return err
	}
	api, err := clientcmd.BuildConfigFromFlags("", c.state.NodeKubeconfig())
	if err != nil {
		return fmt.Errorf("read the node's kubeconfig: %w", err)
	}
	c.node, err = node.Open(ctx, node.Config{
		Settings: c.Settings, VCH: &node.VCH{Entry: *c.Settings.VCH}, State: c.state, API: api, Address: address,
		AnyPort: c.AnyKubeletPort, PortSetting: "--kubelet-port", Hosts: c.hosts(), Open: c.openHost,
	})
	return err
}

func (c *cluster) address() (netip.Addr, error) {
	if c.network != nil {
		return c.network.Gateway(), nil
	}
	return node.HostAddress()
}

func (c *cluster) openHost(ctx context.Context) (*node.Host, error) {
	if c.Simulator {
		return c.openSimulated(ctx)
	}
	// Pods that a former run had on a simulated vCenter are to run here.
	if err := StopSimulator(ctx, c.state); err != nil {
		return nil, err
	}
	return qemuvch.Open(ctx, qemuvch.Config{Settings: c.Settings, VCH: &c.Settings.VCH.VCH, State: c.state, Network: c.network})
}

// hosts gives pods the API server's names in /etc/hosts, since the cluster has no name service. Without a network of our own
// there is no way from pods to the API server.
func (c *cluster) hosts() []wire.Host {
	if c.network == nil {
		return nil
	}
	return []wire.Host{{IP: serviceAddress, Names: []string{
		"kubernetes.default.svc." + c.Settings.ClusterDomain, "kubernetes.default.svc", "kubernetes.default",
	}}}
}

// serve runs the node until ctx ends, then ends pods and node while the API server still listens.
func (c *cluster) serve(ctx context.Context) error {
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	group, life := errgroup.WithContext(life)
	group.Go(func() error { return c.node.Run(life) })
	group.Go(func() error { return c.approve(life) })
	group.Go(func() error {
		select {
		case <-c.control.Done():
			return c.control.Err()
		case <-life.Done():
			return nil
		}
	})
	group.Go(func() error {
		defer cancel()
		select {
		case <-ctx.Done():
			return c.shutdown(life)
		case <-life.Done():
			return nil
		}
	})
	group.Go(func() error { return c.announce(ctx, life) })
	err := group.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// shutdown ends the pods, and has their last statuses written.
func (c *cluster) shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, shutdownTimeout)
	defer cancel()
	patient, stop := c.Patience(ctx)
	defer stop()
	c.Events.Stopping()
	defer context.AfterFunc(patient, c.Events.CuttingPower)()
	return c.node.Shutdown(ctx, patient, c.KeepPods)
}

// approve signs off the node's serving certificate, as the administrator that `vic up` is.
func (c *cluster) approve(ctx context.Context) error {
	rest, err := clientcmd.BuildConfigFromFlags("", c.state.Kubeconfig())
	if err != nil {
		return fmt.Errorf("read kubeconfig: %w", err)
	}
	client, err := kubernetes.NewForConfig(rest)
	if err != nil {
		return fmt.Errorf("make API client: %w", err)
	}
	return certs.NewApprover(certs.ApproverConfig{
		Client: client, NodeName: c.nodeName(), IPs: c.node.CertificateIPs(), DNSNames: []string{c.nodeName()},
	}).Run(ctx)
}

// announce says once that the node is Ready.
func (c *cluster) announce(ctx, life context.Context) error {
	for _, done := range []<-chan struct{}{c.node.Ready(), c.node.Signed()} {
		select {
		case <-done:
		case <-ctx.Done():
			return nil
		case <-life.Done():
			return nil
		}
	}
	capacity, err := c.node.Capacity(life)
	if err != nil {
		return err
	}
	return c.Events.Ready(Summary{
		NodeName: c.nodeName(), Capacity: capacity, RunsOn: c.node.RunsOn(), UserNetwork: c.network == nil, Kubeconfig: c.state.Kubeconfig(),
	})
}

// closeNetwork takes the network down, unless VMs run on it: those that KeepPods leaves, and those of a former run where
// this one could not start. Without it they would be adopted later and reach nobody.
func (c *cluster) closeNetwork(ctx context.Context) error {
	if c.network == nil {
		return nil
	}
	if running, err := vmsRun(c.state); running || err != nil {
		return err
	}
	return c.network.Down(context.WithoutCancel(ctx))
}

// vmsRun is true when VMs of a state directory run, whoever started them; a simulated vCenter is left only for such.
func vmsRun(state *statedir.Dir) (bool, error) {
	if runs, err := SimulatorRuns(state); runs || err != nil {
		return runs, err
	}
	vms, damaged, err := qemu.List(state.VCH())
	return slices.ContainsFunc(vms, func(vm portlayer.VM) bool { return vm.State == portlayer.StateRunning }) ||
		slices.ContainsFunc(damaged, func(vm *qemu.DamagedError) bool { return vm.Running }), err
}

// importHello gives the store the image of examples/hello.yaml, which the build leaves beside the program.
func importHello(ctx context.Context, images *persona.Store) error {
	archive, err := node.BesideProgram("hello.tar")
	if err != nil {
		return err
	}
	if _, err := os.Stat(archive); errors.Is(err, os.ErrNotExist) {
		logging.From(ctx).InfoContext(ctx, "example image not built", "file", archive)
		return nil
	}
	_, err = images.Import(ctx, archive, "")
	return err
}
