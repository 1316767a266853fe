package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/operations/plan"
	"github.com/virtual-kubelet/vic/persona"
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
	// defaultNodeName is what other tools expect `vic up` to call its node.
	defaultNodeName = "vic-local"
	// shutdownTimeout bounds the end of all pods beyond their own grace periods.
	shutdownTimeout = 10 * time.Minute
)

// upOptions are the flags of `vic up`.
type upOptions struct {
	dir      string
	apiPort  int
	keepPods bool
	purge    bool
	node     nodeFlags
	registry registryFlags
}

func newUpCommand() *cobra.Command {
	var o upOptions
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run a cluster of one node on this machine",
		Long: `Runs a control plane and a node on this machine, in the foreground, until SIGINT or SIGTERM.

Everything is kept under one directory (--dir), so several run side by side. At the end pods end within their grace
periods and nothing is left running; their objects stay, and they run again at the next vic up.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			if o.purge {
				return purge(cmd.Context(), o.dir)
			}
			return up(cmd.Context(), cmd.OutOrStdout(), o)
		},
	}
	addDirFlag(cmd, &o.dir)
	f := cmd.Flags()
	f.IntVar(&o.apiPort, "api-port", 0, "port of the API server on loopback; 0 keeps the last one, or takes a free one")
	f.BoolVar(&o.keepPods, "keep-pods", false, "leave pod VMs running at the end, for the next vic up to adopt")
	f.BoolVar(&o.purge, "purge", false, "stop and remove everything of the directory, and do nothing else")
	o.node.add(cmd)
	o.registry.add(cmd)
	return cmd
}

func (o *upOptions) validate() error {
	if o.dir == "" {
		return misused("--dir is empty")
	}
	if o.apiPort < 0 || o.apiPort > 65535 {
		return misused("--api-port %d is no port (0 to 65535)", o.apiPort)
	}
	_, err := o.registry.config()
	return errors.Join(o.node.validate(), err)
}

// nodeFlags are those of a QEMU node.
type nodeFlags struct {
	name       string
	cpu        int64
	memory     quantityFlag
	accel      string
	guestImage string
}

func (f *nodeFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.name, "node-name", defaultNodeName, "name of the node")
	cmd.Flags().Int64Var(&f.cpu, "cpu", 0, "processors that the node offers to pods; 0 is the machine's")
	cmd.Flags().Var(&f.memory, "memory", "memory that the node offers to pods, such as 8Gi (default: the machine's)")
	cmd.Flags().StringVar(&f.accel, "accel", string(qemu.AccelAuto), "QEMU's accelerator: auto (by booting something), kvm or tcg")
	cmd.Flags().StringVar(&f.guestImage, "guest-image", "", "directory of vmlinuz and initrd.zst (default: guest/ beside the program)")
}

func (f *nodeFlags) validate() error {
	if errs := validation.IsDNS1123Subdomain(f.name); len(errs) > 0 {
		return misused("--node-name %q: %s", f.name, strings.Join(errs, "; "))
	}
	if f.cpu < 0 {
		return misused("--cpu %d is below zero", f.cpu)
	}
	if _, err := qemu.ParseAccel(f.accel); err != nil {
		return misused("--accel: %w", err)
	}
	return nil
}

// files returns the files of the guest image.
func (f *nodeFlags) files() (qemu.GuestImage, error) {
	dir, err := f.imageDir()
	if err != nil {
		return qemu.GuestImage{}, err
	}
	image := qemu.GuestImage{Kernel: filepath.Join(dir, "vmlinuz"), Initrd: filepath.Join(dir, "initrd.zst")}
	for _, path := range []string{image.Kernel, image.Initrd} {
		if _, err := os.Stat(path); err != nil {
			return qemu.GuestImage{}, fmt.Errorf("guest image (--guest-image; make guest-image builds it): %w", err)
		}
	}
	return image, nil
}

// kernelRelease is what the guest image's manifest says of its kernel; empty where there is no manifest.
func (f *nodeFlags) kernelRelease() string {
	dir, err := f.imageDir()
	if err != nil {
		return ""
	}
	var manifest struct {
		KernelRelease string `json:"kernelRelease"`
	}
	text, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil || json.Unmarshal(text, &manifest) != nil {
		return ""
	}
	return manifest.KernelRelease
}

func (f *nodeFlags) imageDir() (string, error) {
	if f.guestImage != "" {
		return f.guestImage, nil
	}
	return besideProgram("guest")
}

// besideProgram returns the path of a file that the build leaves beside this program.
func besideProgram(name string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find %s beside this program: %w", name, err)
	}
	return filepath.Join(filepath.Dir(self), name), nil
}

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
	state, err := standalone.Open(o.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, state.Close()) }()

	c := &localCluster{options: o, state: state, image: image, binary: binary, out: out}
	return c.run(ctx)
}

// localCluster is a running `vic up`.
type localCluster struct {
	options upOptions
	state   *standalone.Dir
	image   qemu.GuestImage
	binary  string
	out     io.Writer

	network *network.Network
	control *standalone.ControlPlane
	node    *qemuNode
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
	images, err := c.options.registry.config()
	if err != nil {
		return err
	}
	c.node, err = openQEMUNode(ctx, qemuNodeConfig{
		Flags: c.options.node, GuestImage: c.image, State: c.state, Rest: rest, Network: c.network, Images: images,
		Address: address, Listen: netip.AddrPortFrom(address, 0).String(), DNS: c.dns(),
	})
	if err != nil {
		return err
	}
	return importHello(ctx, c.node.images)
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

func (c *localCluster) shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, shutdownTimeout)
	defer cancel()
	if c.options.keepPods {
		fmt.Fprintln(c.out, "stopping; pod VMs go on (--keep-pods)")
	} else {
		fmt.Fprintln(c.out, "stopping; pods end within their grace periods")
	}
	return c.node.shutdown(ctx, c.options.keepPods)
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
	_, err = fmt.Fprintf(c.out, `node %s is Ready: %s; pods run on QEMU (%s)

  export KUBECONFIG=%s
  bin/kubectl apply -f examples/hello.yaml
  bin/kubectl get pods -o wide
  bin/kubectl exec -it hello -- sh

Ctrl-C ends the pods within their grace periods and stops everything.
`, c.options.node.name, capacity, c.node.accel(), c.state.Kubeconfig())
	return err
}

// closeNetwork takes the network down, unless VMs stay on it.
func (c *localCluster) closeNetwork(ctx context.Context) error {
	if c.network == nil || c.options.keepPods {
		return nil
	}
	return c.network.Down(context.WithoutCancel(ctx))
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

// purge stops and removes everything of a state directory, also what a killed vic left.
func purge(ctx context.Context, dir string) (err error) {
	named, err := standalone.At(dir)
	if err != nil {
		return err
	}
	if _, err := os.Stat(named.Path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	state, err := standalone.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, state.Close()) }()
	binary, err := besideProgram("vic-controlplane")
	if err != nil {
		return err
	}
	if err := errors.Join(
		standalone.StopControlPlane(ctx, binary, state),
		qemu.Purge(ctx, state.VCH()),
		purgeNetwork(ctx, state),
	); err != nil {
		return err
	}
	return state.Purge()
}
