package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/node/statedir"
	"github.com/virtual-kubelet/vic/operations/plan"
	"github.com/virtual-kubelet/vic/persona"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/qemu"
	"github.com/virtual-kubelet/vic/portlayer/qemu/network"
	"github.com/virtual-kubelet/vic/provider/certs"
	"github.com/virtual-kubelet/vic/standalone"
)

const (
	// serviceAddress is that of the kubernetes Service: the first of the control plane's service range.
	serviceAddress = "10.96.0.1"
	// podAPIPort is where pods reach the API server on the gateway's address, which is this VCH's own.
	podAPIPort = 6443
	// clusterDomain is the domain of services.
	clusterDomain = "cluster.local"
	// shutdownTimeout bounds the end of all pods beyond their own grace periods.
	shutdownTimeout = 10 * time.Minute
)

func up(ctx context.Context, out io.Writer, o upOptions) (err error) {
	// All that can be wrong without touching anything is found first.
	image, err := o.node.files()
	if err != nil {
		return err
	}
	binary, err := besideProgram("vic-controlplane")
	if err != nil {
		return err
	}
	if _, err := os.Stat(binary); err != nil {
		return fmt.Errorf("control plane (make build builds it): %w", err)
	}
	state, err := statedir.Open(o.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, state.Close()) }()

	endTraces, err := sendTraces(ctx, o.node.tracing, o.node.name)
	if err != nil {
		return err
	}
	defer endTraces()
	c := &localCluster{options: o, state: state, image: image, binary: binary, out: out}
	return c.run(ctx)
}

// localCluster is a running `vic up`.
type localCluster struct {
	options upOptions
	state   *statedir.Dir
	image   qemu.GuestImage
	binary  string
	out     io.Writer

	network *network.Network
	control *standalone.ControlPlane
	node    *vchNode
}

func (c *localCluster) run(ctx context.Context) (err error) {
	if c.network, err = openNetworkWithAPI(ctx, c.state); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.closeNetwork(ctx)) }()
	c.control, err = standalone.StartControlPlane(ctx, standalone.ControlPlaneConfig{
		Binary: c.binary, Dir: c.state, APIPort: c.options.apiPort, PodListen: c.podListen(), NodeName: c.options.node.name,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.control.Stop(context.WithoutCancel(ctx))) }()
	if err := c.openNode(ctx); err != nil {
		return err
	}
	return c.serve(ctx)
}

// podListen is the gateway's address, so that pods reach the API server; user-mode networking has none.
func (c *localCluster) podListen() string {
	if c.network == nil {
		return ""
	}
	return netip.AddrPortFrom(c.network.Gateway(), podAPIPort).String()
}

func (c *localCluster) openNode(ctx context.Context) error {
	address, err := nodeAddress(c.network)
	if err != nil {
		return err
	}
	rest, err := clientcmd.BuildConfigFromFlags("", c.state.NodeKubeconfig())
	if err != nil {
		return fmt.Errorf("read the node's kubeconfig: %w", err)
	}
	images, err := c.options.images()
	if err != nil {
		return err
	}
	c.node, err = openVCHNode(ctx, vchNodeConfig{
		Flags: c.options.node, State: c.state, Rest: rest, Images: images,
		VCH: func(ctx context.Context) (*vch, error) {
			if c.options.simulator {
				return c.openSimulated(ctx)
			}
			// Pods that a former run had on a simulated vCenter are to run here.
			if err := standalone.StopSimulator(ctx, c.state); err != nil {
				return nil, err
			}
			return openQEMU(ctx, c.options.node, c.state, c.image, c.network)
		},
		Address: address, Listen: c.options.kubeletListen(address), DNS: c.dns(),
	})
	if err != nil {
		return err
	}
	if err := importHello(ctx, c.node.images); err != nil {
		c.node.close()
		return err
	}
	return nil
}

// dns gives pods the API server's names in /etc/hosts, since the cluster has no name service. Without a network of our own
// there is no way from pods to the API server.
func (c *localCluster) dns() plan.ClusterDNS {
	dns := plan.ClusterDNS{Domain: clusterDomain}
	if c.network != nil {
		dns.Hosts = []wire.Host{{IP: serviceAddress, Names: []string{
			"kubernetes.default.svc." + clusterDomain, "kubernetes.default.svc", "kubernetes.default",
		}}}
	}
	return dns
}

// serve runs the node until ctx ends, then ends pods and node while the API server still listens.
func (c *localCluster) serve(ctx context.Context) error {
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	group, life := errgroup.WithContext(life)
	group.Go(func() error { return c.node.run(life) })
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
	c.node.close()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// shutdown ends the pods, and has their last statuses written. Another signal ends their grace periods: what runs then
// loses its power.
func (c *localCluster) shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, shutdownTimeout)
	defer cancel()
	patient, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if c.options.keepPods {
		fmt.Fprintln(c.out, "stopping; pod VMs go on (--keep-pods)")
	} else {
		fmt.Fprintln(c.out, "stopping; pods end within their grace periods (Ctrl-C again cuts their power)")
	}
	done := context.AfterFunc(patient, func() { fmt.Fprintln(c.out, "cutting the power of the pods that run") })
	err := c.node.endPods(patient, c.options.keepPods)
	done()
	return errors.Join(err, c.node.flush(ctx))
}

// approve signs off the node's serving certificate, as the administrator that `vic up` is.
func (c *localCluster) approve(ctx context.Context) error {
	rest, err := clientcmd.BuildConfigFromFlags("", c.state.Kubeconfig())
	if err != nil {
		return fmt.Errorf("read kubeconfig: %w", err)
	}
	client, err := kubernetes.NewForConfig(rest)
	if err != nil {
		return fmt.Errorf("make API client: %w", err)
	}
	return certs.NewApprover(certs.ApproverConfig{
		Client: client, NodeName: c.options.node.name, IPs: c.node.certificateIPs(), DNSNames: []string{c.options.node.name},
	}).Run(ctx)
}

// announce says once that the node is Ready, and what to type.
func (c *localCluster) announce(ctx, life context.Context) error {
	for _, done := range []<-chan struct{}{c.node.ready(), c.node.signed()} {
		select {
		case <-done:
		case <-ctx.Done():
			return nil
		case <-life.Done():
			return nil
		}
	}
	capacity, err := c.node.capacity(life)
	if err != nil {
		return err
	}
	var note string
	if c.network == nil {
		note = "\n" + qemu.UserNetworkMeans
	}
	_, err = fmt.Fprintf(c.out, `node %s is Ready: %s; pods run on %s%s

  export KUBECONFIG=%s
  bin/kubectl apply -f examples/hello.yaml
  bin/kubectl get pods -o wide
  bin/kubectl exec -it hello -- sh

%s
`, c.options.node.name, capacity, c.node.vch.runsOn, note, c.state.Kubeconfig(), c.options.ending())
	return err
}

// ending says what the end does to pods.
func (o *upOptions) ending() string {
	if o.keepPods {
		return "Ctrl-C stops the control plane and the node; pod VMs go on (--keep-pods)."
	}
	return "Ctrl-C ends the pods within their grace periods and stops everything."
}

// closeNetwork takes the network down, unless VMs run on it: those that --keep-pods leaves, and those of a former run
// where this one could not start. Without it they would be adopted later and reach nobody.
func (c *localCluster) closeNetwork(ctx context.Context) error {
	if c.network == nil {
		return nil
	}
	if running, err := vmsRun(c.state); running || err != nil {
		return err
	}
	return c.network.Down(context.WithoutCancel(ctx))
}

// vmsRun tells whether VMs of a state directory run, whoever started them; a simulated vCenter is left only for such.
func vmsRun(state *statedir.Dir) (bool, error) {
	if runs, err := standalone.SimulatorRuns(state); runs || err != nil {
		return runs, err
	}
	vms, err := qemu.List(state.VCH())
	return slices.ContainsFunc(vms, func(vm portlayer.VM) bool { return vm.State == portlayer.StateRunning }), err
}

// importHello gives the store the image of examples/hello.yaml, which the build leaves beside the program.
func importHello(ctx context.Context, images *persona.Store) error {
	archive, err := besideProgram("hello.tar")
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
