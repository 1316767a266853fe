package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"os"
	"runtime"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"

	"github.com/virtual-kubelet/vic/cache"
	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/host"
	"github.com/virtual-kubelet/vic/internal/version"
	"github.com/virtual-kubelet/vic/node/statedir"
	"github.com/virtual-kubelet/vic/operations"
	"github.com/virtual-kubelet/vic/operations/environment"
	"github.com/virtual-kubelet/vic/operations/plan"
	"github.com/virtual-kubelet/vic/operations/volumes"
	"github.com/virtual-kubelet/vic/persona"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
	"github.com/virtual-kubelet/vic/portlayer/qemu/network"
	"github.com/virtual-kubelet/vic/provider"
	"github.com/virtual-kubelet/vic/provider/objects"
	"github.com/virtual-kubelet/vic/provider/usage"
)

// vch is what a node's pods run on: all that differs by hypervisor.
type vch struct {
	hypervisor   portlayer.Hypervisor
	scope        portlayer.ScopeConfig
	capabilities podvm.Capabilities
	// instanceType, system and network describe the node: a label, what its OS image ends with, and how pods are reached.
	instanceType, system, network string
	// runsOn says it to people.
	runsOn string
	// run is whatever has to run beside it; nil is nothing.
	run   func(context.Context) error
	close func()
}

// vchNodeConfig is what a node is made of.
type vchNodeConfig struct {
	Flags nodeFlags
	// VCH opens what pods run on.
	VCH    func(context.Context) (*vch, error)
	State  *statedir.Dir
	Rest   *rest.Config
	Images persona.Config
	// Address is the node's; Listen is where the kubelet API is served.
	Address netip.Addr
	Listen  provider.Listen
	Taints  []corev1.Taint
	Labels  map[string]string
	// DNS is the cluster's name service.
	DNS plan.ClusterDNS
}

// vchNode is the whole of a node: VCH, port layer, images, operations, provider.
type vchNode struct {
	config   vchNodeConfig
	registry *prometheus.Registry
	vch      *vch
	layer    *portlayer.Layer
	host     *podvm.Host
	images   *persona.Store
	objects  *objects.Objects
	events   *provider.Events
	manager  *operations.Manager
	provider *provider.Node
}

// openVCHNode builds the node from the bottom up. Close undoes it; VMs that run are adopted and stay.
func openVCHNode(ctx context.Context, cfg vchNodeConfig) (*vchNode, error) {
	n := &vchNode{config: cfg, registry: newRegistry()}
	for _, step := range []func(context.Context) error{n.openHost, n.openImages, n.openOperations} {
		if err := step(ctx); err != nil {
			n.close()
			return nil, err
		}
	}
	return n, nil
}

func (n *vchNode) openHost(ctx context.Context) (err error) {
	if n.vch, err = n.config.VCH(ctx); err != nil {
		return err
	}
	n.layer, err = portlayer.Open(ctx, portlayer.Config{
		Hypervisor: n.vch.hypervisor, Scopes: []portlayer.ScopeConfig{n.vch.scope}, Metrics: n.registry,
	})
	if err != nil {
		return err
	}
	n.host, err = podvm.Open(ctx, podvm.Config{
		Layer: n.layer, RunDir: n.config.State.Runs(), NodeName: n.config.Flags.name,
		LogBytes: n.config.Flags.logs.maxSize.bytes, LogFiles: n.config.Flags.logs.maxFiles, Capabilities: n.vch.capabilities,
		Metrics: n.registry,
	})
	return err
}

func (n *vchNode) openImages(context.Context) (err error) {
	images := n.config.Images
	images.Dir = n.config.State.Images()
	if n.images, err = persona.Open(images); err != nil { //nolint:contextcheck // it waits for nothing
		return err
	}
	n.registry.MustRegister(n.images.Collector())
	return nil
}

func (n *vchNode) openOperations(ctx context.Context) error {
	clients, err := provider.NewClients(n.config.Rest, "vic/"+version.Version)
	if err != nil {
		return err
	}
	pods := cache.New()
	n.objects = objects.New(clients.Main)
	n.events = provider.NewEvents(clients.Events, n.config.Flags.name)
	allocatable, err := n.allocatable(ctx)
	if err != nil {
		return err
	}
	credentials, err := n.config.Flags.credentials.open()
	if err != nil {
		return err
	}
	facts := operations.NodeFacts{HostIP: n.config.Address.String(), Allocatable: allocatable}
	n.manager = operations.New(operations.Config{
		Host: n.host, Images: n.images, Secrets: n.objects, NodeCredentials: credentials, Cache: pods, Events: n.events.Recorder(),
		Env:      environment.New(environment.Config{Objects: n.objects, Services: n.objects, Events: n.events.Recorder()}),
		Volumes:  volumes.New(volumes.Config{Objects: n.objects, Client: clients.Main}),
		NodeName: n.config.Flags.name, Scope: n.vch.scope.Name, ClusterDNS: n.config.DNS, HostDNS: hostDNS,
		Node: func() operations.NodeFacts {
			facts := facts
			facts.Object, facts.Pressures = n.provider.Self(), n.provider.Pressures() // there is a provider before there are pods
			return facts
		},
		Metrics: n.registry,
		ImageGC: n.config.Flags.imageGC.collection(n.images, n.host),
	})
	n.provider, err = provider.New(provider.Config{ //nolint:contextcheck // it waits for nothing
		Name: n.config.Flags.name, Clients: clients, Manager: n.manager, Containers: n.manager, Pods: pods, References: n.objects,
		Host: n.host, Recorder: n.events.Recorder(), Listen: n.config.Listen, CertDir: n.config.State.Node(),
		Metrics: n.registry, Description: n.description(), Images: n.images, PressureTransition: n.config.Flags.capacity.transition,
		Usage: usage.New(usage.Config{NodeName: n.config.Flags.name, Host: n.host, Pods: pods}),
	})
	if err != nil {
		return err
	}
	n.registry.MustRegister(n.provider.Collector())
	return nil
}

func (n *vchNode) description() provider.Description {
	self := host.Read("/")
	return provider.Description{
		InternalIP: n.config.Address.String(), InstanceType: n.vch.instanceType, Labels: n.labels(), Taints: n.config.Taints,
		Reserved:       corev1.ResourceList(n.config.Flags.capacity.reserved),
		KubeletVersion: version.Kubernetes + "-vic-" + version.Version, OSImage: cmp.Or(self.OS, "Linux") + ", pod VMs on " + n.vch.system,
		RuntimeVersion: "vic://" + version.Version, KernelVersion: n.config.Flags.kernelRelease(),
		MachineID: self.MachineID, SystemUUID: self.SystemUUID, BootID: self.BootID,
	}
}

// podNetworkLabel tells how pods of the node are reached, for selectors: by addresses of their own, or not at all.
const podNetworkLabel = "vic.virtual-kubelet.io/pod-network"

func (n *vchNode) labels() map[string]string {
	labels := map[string]string{podNetworkLabel: n.vch.network}
	maps.Copy(labels, n.config.Labels)
	return labels
}

func (n *vchNode) allocatable(ctx context.Context) (corev1.ResourceList, error) {
	c, err := n.host.Capacity(ctx)
	if err != nil {
		return nil, err
	}
	capacity, flags := provider.CapacityOf(c), &n.config.Flags.capacity
	if err := flags.checkReserved(capacity); err != nil {
		return nil, err
	}
	return provider.Allocatable(capacity, corev1.ResourceList(flags.reserved)), nil
}

// run is the node until ctx ends. Pod VMs go on.
func (n *vchNode) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { n.objects.Run(ctx); return nil })
	group.Go(func() error { return n.manager.Run(ctx) })
	if n.vch.run != nil {
		group.Go(func() error { return n.vch.run(ctx) })
	}
	group.Go(func() error {
		select {
		case <-n.manager.Ready():
			return n.provider.Run(ctx)
		case <-ctx.Done():
			return n.provider.Close()
		}
	})
	return group.Wait()
}

// endPods ends all pods, unless they are kept; when ctx ends first their power is cut.
func (n *vchNode) endPods(ctx context.Context, keep bool) error {
	n.provider.SetNotReady("NodeShutdown", "vic is stopping")
	return n.manager.Shutdown(ctx, keep)
}

// flush writes the statuses that are known now.
func (n *vchNode) flush(ctx context.Context) error { return n.provider.Flush(ctx) }

// close lets go of everything that open opened; it is safe on a node that is half open.
func (n *vchNode) close() {
	if n.events != nil {
		n.events.Close()
	}
	if n.host != nil {
		n.host.Close()
	}
	if n.layer != nil {
		n.layer.Close()
	}
	if n.vch != nil {
		n.vch.close()
	}
}

func (n *vchNode) ready() <-chan struct{}  { return n.provider.Ready() }
func (n *vchNode) signed() <-chan struct{} { return n.provider.Signed() }

// certificateIPs are the addresses that the node's serving certificate is for.
func (n *vchNode) certificateIPs() []net.IP { return []net.IP{n.config.Address.AsSlice()} }

// capacity says in a user's words what the node offers.
func (n *vchNode) capacity(ctx context.Context) (string, error) {
	c, err := n.host.Capacity(ctx)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d CPUs, %.1f GiB", c.CPUMilli/1000, float64(c.MemoryBytes)/(1<<30)), nil
}

func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "vic_build_info", Help: "Always 1; the labels say what runs.",
	}, []string{"version", "goversion"})
	build.WithLabelValues(version.Version, runtime.Version()).Set(1)
	r.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// nodeAddress is an address of this machine that others reach, since the API server refuses to talk to loopback ones.
func nodeAddress(n *network.Network) (netip.Addr, error) {
	if n != nil {
		return n.Gateway(), nil
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find this machine's address: %w", err)
	}
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && p.Addr().Is4() && p.Addr().IsGlobalUnicast() {
			return p.Addr(), nil
		}
	}
	return netip.Addr{}, errors.New("this machine has no IPv4 address but loopback, which the API server does not reach")
}

// hostDNS is this machine's resolv.conf. systemd-resolved listens on loopback, which pods don't reach; it keeps the real
// servers in a file of its own.
func hostDNS() wire.DNS {
	for _, path := range []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"} {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		dns := plan.ParseResolvConf(string(text))
		if len(dns.Nameservers) > 0 && !strings.HasPrefix(dns.Nameservers[0], "127.") {
			return dns
		}
	}
	return wire.DNS{}
}

// sourceAddress is the address that packets to u leave from; nothing is sent.
func sourceAddress(u *url.URL) (netip.Addr, error) {
	port := u.Port()
	if port == "" {
		port = "443"
	}
	conn, err := net.Dial("udp", net.JoinHostPort(u.Hostname(), port)) //nolint:noctx // UDP: it only asks the routing table
	if err != nil {
		return netip.Addr{}, err
	}
	defer conn.Close()
	from, err := netip.ParseAddrPort(conn.LocalAddr().String())
	return from.Addr().Unmap(), err
}
