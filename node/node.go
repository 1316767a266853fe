package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"

	"github.com/virtual-kubelet/vic/cache"
	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/version"
	"github.com/virtual-kubelet/vic/node/statedir"
	"github.com/virtual-kubelet/vic/operations"
	"github.com/virtual-kubelet/vic/operations/environment"
	"github.com/virtual-kubelet/vic/operations/images"
	"github.com/virtual-kubelet/vic/operations/plan"
	"github.com/virtual-kubelet/vic/operations/volumes"
	"github.com/virtual-kubelet/vic/persona"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
	"github.com/virtual-kubelet/vic/provider"
	"github.com/virtual-kubelet/vic/provider/certs"
	"github.com/virtual-kubelet/vic/provider/objects"
	"github.com/virtual-kubelet/vic/provider/usage"
)

// leaveTimeout bounds how long the end of a process waits for the API server.
const leaveTimeout = 5 * time.Second

// Config is what a node is made of.
type Config struct {
	// Settings are those of the process, and VCH those of the node, both with defaults and checked.
	Settings *config.Node
	VCH      *VCH
	// Open opens what its pods run on.
	Open func(ctx context.Context) (*Host, error)
	// State is the node's own; the node does not close it.
	State *statedir.Dir
	API   *rest.Config
	// Address is the node's where the VCH has none.
	Address netip.Addr
	// AnyPort serves the kubelet API on a free port where the VCH's is in use. An error of listening names PortSetting.
	AnyPort     bool
	PortSetting string
	// SelfSigned asks for no serving certificate: the API server takes us for somebody else than the node.
	SelfSigned bool
	// Hosts stand in /etc/hosts of every pod, where the cluster has no name servers.
	Hosts []wire.Host
}

// Node is the whole of a node: what its pods run on, port layer, images, operations, provider.
type Node struct {
	config   Config
	address  netip.Addr
	registry *prometheus.Registry
	clients  provider.Clients
	cluster  string // its UID
	host     *Host
	layer    *portlayer.Layer
	pods     *podvm.Host
	images   *persona.Store
	objects  *objects.Objects
	events   *provider.Events
	manager  *operations.Manager
	provider *provider.Node

	shutDown atomic.Bool // pods end too, and the API server knows it
}

var _ Served = (*Node)(nil)

// Open builds a node from the bottom up. Close undoes it; VMs that run are adopted and stay.
func Open(ctx context.Context, cfg Config) (*Node, error) {
	n := &Node{config: cfg, address: cfg.Address, registry: newRegistry()}
	for _, step := range []func(context.Context) error{n.openAddress, n.openCluster, n.openHost, n.openImages, n.openProvider} {
		if err := step(ctx); err != nil {
			n.Close(ctx)
			return nil, err
		}
	}
	return n, nil
}

func (n *Node) openAddress(context.Context) (err error) {
	if text := n.config.VCH.Address; text != "" {
		if n.address, err = netip.ParseAddr(text); err != nil {
			return fmt.Errorf("address: %w", err)
		}
	}
	return nil
}

// openHost opens what pods run on, and the port layer over it.
func (n *Node) openHost(ctx context.Context) (err error) {
	if n.host, err = n.config.Open(ctx); err != nil {
		return err
	}
	settings := n.config.Settings
	n.layer, err = portlayer.Open(ctx, portlayer.Config{
		Hypervisor: n.host.Hypervisor, Scopes: []portlayer.ScopeConfig{n.host.Scope}, Metrics: n.registry,
	})
	if err != nil {
		return err
	}
	n.pods, err = podvm.Open(ctx, podvm.Config{
		Layer: n.layer, RunDir: n.config.State.Runs(), NodeName: n.name(), Cluster: n.cluster,
		LogBytes: settings.ContainerLogMaxSize.Value(), LogFiles: int(settings.ContainerLogMaxFiles), Capabilities: n.host.Capabilities,
		Metrics: n.registry,
	})
	return err
}

func (n *Node) openImages(context.Context) error {
	cfg, err := ImageStore(n.config.Settings)
	if err != nil {
		return err
	}
	cfg.Dir = n.config.State.Images()
	if n.images, err = persona.Open(cfg); err != nil { //nolint:contextcheck // it waits for nothing
		return err
	}
	n.registry.MustRegister(n.images.Collector())
	return nil
}

// openProvider makes operations and the Kubernetes side of the node.
func (n *Node) openProvider(ctx context.Context) error {
	clients := n.clients
	n.objects = objects.New(clients.Main)
	n.events = provider.NewEvents(clients.Events, n.name())
	pods := cache.New()
	if err := n.openOperations(ctx, clients, pods); err != nil {
		return err
	}
	var err error
	n.provider, err = provider.New(provider.Config{ //nolint:contextcheck // it waits for nothing
		Name: n.name(), Clients: clients, Manager: n.manager, Containers: n.manager, Pods: pods, References: n.objects,
		Host: offer{n.pods, n.manager}, Recorder: n.events.Recorder(), CertDir: n.config.State.Node(), SelfSigned: n.config.SelfSigned,
		Listen: provider.Listen{
			Address: netip.AddrPortFrom(n.address, uint16(n.config.VCH.Port)).String(), OrAnyPort: n.config.AnyPort, Setting: n.config.PortSetting,
		},
		Metrics: n.registry, Description: n.description(), Images: n.images, Elected: n.config.Settings.LeaderElection != nil,
		PressureTransition: n.config.Settings.EvictionPressureTransitionPeriod.Duration,
		Usage:              usage.New(usage.Config{NodeName: n.name(), Host: n.pods, Pods: pods}),
	})
	if err != nil {
		return err
	}
	n.registry.MustRegister(n.provider.Collector(), certs.ClientCollector(n.config.API))
	return nil
}

// openOperations makes what runs pods.
func (n *Node) openOperations(ctx context.Context, clients provider.Clients, pods *cache.Pods) error {
	allocatable, err := n.allocatable(ctx)
	if err != nil {
		return err
	}
	settings := n.config.Settings
	credentials, err := ImageCredentials(settings)
	if err != nil {
		return err
	}
	facts := operations.NodeFacts{HostIP: n.address.String(), Allocatable: allocatable}
	n.manager = operations.New(operations.Config{
		Host: n.pods, Images: n.images, Secrets: n.objects, NodeCredentials: credentials, Cache: pods, Events: n.events.Recorder(),
		Env:      environment.New(environment.Config{Objects: n.objects, Services: n.objects, Events: n.events.Recorder()}),
		Volumes:  volumes.New(volumes.Config{Objects: n.objects, Client: clients.Main}),
		NodeName: n.name(), Cluster: n.cluster, Scope: n.host.Scope.Name, HostDNS: hostDNS,
		ClusterDNS: plan.ClusterDNS{Servers: settings.ClusterDNS, Domain: settings.ClusterDomain, Hosts: n.config.Hosts},
		Node: func() operations.NodeFacts {
			facts := facts
			facts.Object, facts.Pressures = n.provider.Self(), n.provider.Pressures() // there is a provider before there are pods
			return facts
		},
		Metrics: n.registry,
		ImageGC: &images.GC{
			Store: n.images, Host: n.pods,
			HighPercent: int(settings.ImageGCHighThresholdPercent), LowPercent: int(settings.ImageGCLowThresholdPercent),
			MinAge: settings.ImageMinimumGCAge.Duration, Period: settings.ImageGCPeriod.Duration,
		},
	})
	return nil
}

// allocatable is what the node admits where no scheduler was asked.
func (n *Node) allocatable(ctx context.Context) (corev1.ResourceList, error) {
	c, err := n.pods.Capacity(ctx)
	if err != nil {
		return nil, err
	}
	capacity := provider.CapacityOf(c)
	if err := n.config.VCH.CheckCapacity(capacity); err != nil {
		return nil, err
	}
	return provider.Allocatable(capacity, n.config.VCH.Reserved), nil
}

// offer is what a VCH offers, with what the node says of its pods.
type offer struct {
	provider.Host
	manager *operations.Manager
}

// Capacity implements provider.Host.
func (o offer) Capacity(ctx context.Context) (portlayer.Capacity, error) {
	c, err := o.Host.Capacity(ctx)
	c.Conditions = append(slices.Clip(c.Conditions), o.manager.Conditions()...)
	return c, err
}

// Run is the node until ctx ends. Pod VMs go on. Where the process ends with it, the API server is told so first.
func (n *Node) Run(ctx context.Context) error {
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	group, life := errgroup.WithContext(life)
	group.Go(func() error { n.objects.Run(life); return nil })
	group.Go(func() error { return n.manager.Run(life) })
	if n.host.Run != nil {
		group.Go(func() error { return n.host.Run(life) })
	}
	group.Go(func() error {
		select {
		case <-n.manager.Ready():
			return n.provider.Run(life)
		case <-life.Done():
			return nil
		}
	})
	group.Go(func() error { n.logReady(life); return nil })
	group.Go(func() error {
		defer cancel()
		select {
		case <-ctx.Done():
			n.leave(ctx, life)
		case <-life.Done():
		}
		return nil
	})
	return group.Wait()
}

// leave says that the node ends, unless it is about to be opened again, by this process or by another one that leads.
func (n *Node) leave(ctx, life context.Context) {
	if errors.Is(context.Cause(ctx), errMemberEnds) || n.shutDown.Load() {
		return
	}
	logging.From(ctx).InfoContext(ctx, "node stopped, its pod VMs run on", "node", n.name())
	if n.config.Settings.LeaderElection != nil {
		return
	}
	life, cancel := context.WithTimeout(life, leaveTimeout)
	defer cancel()
	if err := n.provider.Leave(life); err != nil {
		logging.From(ctx).WarnContext(ctx, "node not shown as stopped", "node", n.name(), "err", err)
	}
}

func (n *Node) logReady(ctx context.Context) {
	select {
	case <-n.Ready():
		logging.From(ctx).InfoContext(ctx, "node became Ready", "node", n.name(), "address", n.address.String(), "port", n.provider.Port())
	case <-ctx.Done():
	}
}

// Shutdown ends all pods, unless they are kept, and has their last statuses written. When patience ends first, the power of
// pods that run is cut.
func (n *Node) Shutdown(ctx, patience context.Context, keepPods bool) error {
	n.shutDown.Store(true)
	n.provider.SetNotReady("NodeShutdown", "vic is stopping")
	return errors.Join(n.manager.Shutdown(patience, keepPods), n.provider.Flush(ctx))
}

// Close lets go of everything that Open opened; it is safe on a node that is half open. Pod VMs run on.
func (n *Node) Close(ctx context.Context) {
	if n.provider != nil {
		if err := n.provider.Close(); err != nil { // of one that never ran
			logging.From(ctx).WarnContext(ctx, "kubelet API not closed", "err", err)
		}
	}
	if n.events != nil {
		n.events.Close()
	}
	if n.pods != nil {
		n.pods.Close()
	}
	if n.layer != nil {
		n.layer.Close()
	}
	if n.host != nil {
		n.host.Close()
	}
}

// RemoveVMs removes what is left on a node that takes no pods any more.
func (n *Node) RemoveVMs(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	vms, err := n.pods.List(ctx)
	if err != nil {
		return err
	}
	for _, vm := range vms {
		if !vm.Spec.Owner.IsOf(n.cluster, n.name()) {
			continue
		}
		if err := n.pods.Remove(ctx, vm.Spec.ID); err != nil && !errors.Is(err, portlayer.ErrNotFound) {
			return err
		}
	}
	return nil
}

// Ready is closed once the API server shows the node as Ready.
func (n *Node) Ready() <-chan struct{} { return n.provider.Ready() }

// Signed is closed once the cluster has signed the node's serving certificate: from then on logs and exec work.
func (n *Node) Signed() <-chan struct{} { return n.provider.Signed() }

// Images is the node's image store.
func (n *Node) Images() *persona.Store { return n.images }

// RunsOn names what pods run on to people.
func (n *Node) RunsOn() string { return n.host.RunsOn }

// CertificateIPs are the addresses that the node's serving certificate is for.
func (n *Node) CertificateIPs() []net.IP { return []net.IP{n.address.AsSlice()} }

func (n *Node) name() string { return n.config.VCH.NodeName }

// userAgent is who the API server sees.
var userAgent = "vic/" + version.Version
