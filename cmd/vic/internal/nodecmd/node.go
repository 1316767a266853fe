package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/version"
	"github.com/virtual-kubelet/vic/node/statedir"
	"github.com/virtual-kubelet/vic/operations/plan"
	"github.com/virtual-kubelet/vic/portlayer/qemu"
	"github.com/virtual-kubelet/vic/provider"
)

// kubeletPort is where a kubelet's API is expected.
const kubeletPort = 10250

// apiTimeout bounds the first question to the API server.
const apiTimeout = 15 * time.Second

func newNodeCommand() *cobra.Command {
	var kubeconfig, config string
	cmd := &cobra.Command{
		Use:   "node",
		Short: "Join a cluster as one node or several: this machine's QEMU, or pools of vSphere",
		Long: `Joins a cluster as a node whose pods are VMs of this machine's QEMU or of a resource pool on vSphere, or as several nodes: those
of a list in the configuration, or those that the cluster's VirtualContainerHosts name (docs/node.md, docs/vsphere.md).`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if config == "" || kubeconfig == "" && !inCluster() {
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
			return cfg.run(cmd.Context(), api, config)
		},
	}
	cmd.Flags().StringVar(&kubeconfig, "kubeconfig", "", "`FILE` with the node's credential (default, in a pod: that of its service account)")
	cmd.Flags().StringVar(&config, "config", "", "`FILE` with the node's configuration (docs/node.md)")
	return cmd
}

// inCluster tells whether this process runs in a pod that has a service account.
func inCluster() bool {
	_, err := rest.InClusterConfig()
	return err == nil
}

// run serves the file's nodes until ctx ends; pod VMs outlive it.
func (f *nodeFile) run(ctx context.Context, api *rest.Config, path string) (err error) {
	s := &nodeServer{file: f, api: api}
	if s.address, err = f.address(api); err != nil {
		return err
	}
	if err := s.checkMachine(); err != nil { // before anything is touched
		return err
	}
	if err := s.checkAPI(ctx); err != nil {
		return err
	}
	endTraces, err := sendTraces(ctx, f.TracingEndpoint, f.NodeName)
	if err != nil {
		return err
	}
	defer endTraces()
	if f.isFleet() {
		return s.runFleet(ctx, path)
	}
	if s.state, err = statedir.Open(f.Dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.state.Close()) }()
	return s.runOne(ctx)
}

// nodeServer opens the nodes of a process.
type nodeServer struct {
	file    *nodeFile
	api     *rest.Config
	address netip.Addr
	state   *statedir.Dir
	// guests is where the guests of all VCHs on vSphere dial in; nil where each VCH has a place of its own.
	guests *guestListener
}

// runOne serves the one node that the file has.
func (s *nodeServer) runOne(ctx context.Context) error {
	n, err := s.open(ctx, &s.file.vchFile, s.state)
	if err != nil {
		return err
	}
	defer n.close()
	go func() {
		select {
		case <-n.ready():
			tellReady(ctx)
			logging.From(ctx).InfoContext(ctx, "node became Ready", "node", s.file.NodeName, "address", s.address.String(), "port", strconv.Itoa(s.file.Port))
		case <-ctx.Done():
		}
	}()
	return n.run(ctx)
}

// tellReady tells systemd. Without it there is nobody to tell, which is no error.
func tellReady(ctx context.Context) {
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		logging.From(ctx).WarnContext(ctx, "systemd was not told that the node is ready", "err", err)
	}
}

// open opens a node, whose state is in a directory of its own.
func (s *nodeServer) open(ctx context.Context, n *vchFile, state *statedir.Dir) (*vchNode, error) {
	flags, err := s.file.flags(n)
	if err != nil {
		return nil, err
	}
	images, err := s.file.images()
	if err != nil {
		return nil, err
	}
	address := s.address
	if n.Address != "" {
		if address, err = netip.ParseAddr(n.Address); err != nil {
			return nil, fmt.Errorf("address: %w", err)
		}
	}
	return openVCHNode(ctx, vchNodeConfig{
		Flags: flags, State: state, Rest: s.api, Images: images,
		VCH:     func(ctx context.Context) (*vch, error) { return s.openVCH(ctx, n, flags, state) },
		Address: address, Listen: provider.Listen{Address: netip.AddrPortFrom(address, uint16(n.Port)).String(), Setting: "port"},
		Taints: n.taints(), Labels: n.labels(), DNS: plan.ClusterDNS{Servers: s.file.ClusterDNS, Domain: s.file.ClusterDomain},
	})
}

// openVCH opens what pods run on.
func (s *nodeServer) openVCH(ctx context.Context, n *vchFile, flags nodeFlags, state *statedir.Dir) (*vch, error) {
	subnet, err := n.subnet()
	if err != nil {
		return nil, err
	}
	if n.VSphere != nil {
		return n.VSphere.open(ctx, flags, state, subnet, s.guests)
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

// checkMachine looks whether VMs can run on this machine, where that is wanted.
func (s *nodeServer) checkMachine() error {
	for _, n := range s.file.vchs() {
		if n.VSphere != nil {
			continue
		}
		if err := qemu.OutliveProcess(); err != nil && !s.file.AllowContainer {
			return fmt.Errorf("%w; run vic node on the host, or set allowContainer in --config", err)
		}
		flags, err := s.file.flags(n)
		if err != nil {
			return err
		}
		if _, err := flags.files(); err != nil {
			return err
		}
	}
	return nil
}

// checkAPI asks the API server who we are, so that a wrong address or credential is known before anything is made.
func (s *nodeServer) checkAPI(ctx context.Context) error {
	clients, err := provider.NewClients(s.api, "vic/"+version.Version)
	if err != nil {
		return fmt.Errorf("--kubeconfig: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	username, err := clients.Check(ctx)
	if err != nil {
		return fmt.Errorf("API server %s (--kubeconfig) does not answer: %w", s.api.Host, err)
	}
	if want := "system:node:" + s.file.NodeName; username != want && !s.file.isFleet() {
		logging.From(ctx).WarnContext(ctx, "serving certificate will not be signed for this user", "user", username, "want", want)
	}
	return nil
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
