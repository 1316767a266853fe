package provider

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/virtual-kubelet/virtual-kubelet/node"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/client-go/informers"
	corev1listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/record"

	"github.com/virtual-kubelet/vic/provider/certs"
	"github.com/virtual-kubelet/vic/provider/kubeletapi"
)

// resyncInterval is how often every pod is looked at again without a change: it mends a status that was lost.
const resyncInterval = time.Minute

// Config is what a Node needs.
type Config struct {
	// Name is the node's name.
	Name        string
	Description Description
	Clients     Clients

	Manager    Manager
	Containers kubeletapi.Containers
	Pods       Pods
	References References
	Host       Host
	Recorder   record.EventRecorder

	// Listen is where the kubelet's API is served.
	Listen Listen
	// Elected says that an election decides which machine serves the node; else one whose lease is another machine's is refused.
	Elected bool
	// CertDir keeps the serving certificate and its key, closed to others.
	CertDir string
	// SelfSigned serves a certificate signed by itself, and asks for no other.
	SelfSigned bool
	// ClientCA is the authority of client certificates as PEM. Where it is empty, the cluster is asked for its own
	// (kube-system/extension-apiserver-authentication).
	ClientCA []byte
	// Metrics is what /metrics shows.
	Metrics prometheus.Gatherer
	// Images may be nil.
	Images Images
	// PressureTransition is for how long a pressure is reported after it was last seen.
	PressureTransition time.Duration
	// Usage is what /metrics/resource and /stats/summary show.
	Usage kubeletapi.Usage
	// Settings is what /configz shows.
	Settings any
}

// Node is one virtual node.
type Node struct {
	cfg      Config
	listener net.Listener
	serving  *certs.Serving
	clientCA dynamiccertificates.CAContentProvider
	api      *kubeletapi.Server

	pods      informers.SharedInformerFactory // of this node
	self      informers.SharedInformerFactory // this node's object
	selves    corev1listers.NodeLister        // over self
	provider  *Provider
	publisher *publisher
	reporter  *nodeReporter
	podLoop   *node.PodController

	ready chan struct{}
}

// New returns a Node whose port is open already, so that one in use is known before anything is registered. Run closes
// it; the caller closes a Node that never runs.
func New(cfg Config) (*Node, error) {
	n := &Node{
		cfg:   cfg,
		ready: make(chan struct{}),
		pods:  informers.NewSharedInformerFactoryWithOptions(cfg.Clients.Main, resyncInterval, selecting("spec.nodeName", cfg.Name), slim()),
		self:  informers.NewSharedInformerFactoryWithOptions(cfg.Clients.Main, 0, selecting(metav1.ObjectNameField, cfg.Name)),
	}
	n.selves = n.self.Core().V1().Nodes().Lister()
	n.provider = NewProvider(cfg.Manager, cfg.Pods, n.pods.Core().V1().Pods().Lister())
	n.publisher = newPublisher(n.provider, cfg.Clients.Main.CoreV1())
	n.reporter = newNodeReporter(reporterConfig{
		name: cfg.Name, desc: &n.cfg.Description, host: cfg.Host, api: cfg.Clients.Main.CoreV1().Nodes(),
		recorder: cfg.Recorder, images: cfg.Images, transition: cfg.PressureTransition, self: n.Self,
	})
	if !cfg.Elected {
		n.reporter.leases = cfg.Clients.Main.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	}
	if err := errors.Join(n.buildPodLoop(), n.buildCerts(), n.buildAPI()); err != nil {
		return nil, err
	}
	if err := n.listen(); err != nil {
		return nil, err
	}
	return n, nil
}

// Self is the node's own object as the API server has it; nil while that is not known. The caller must not change it.
func (n *Node) Self() *corev1.Node {
	self, err := n.selves.Get(n.cfg.Name)
	if err != nil {
		return nil
	}
	return self
}

// Pressures are those conditions of the node that keep pods away.
func (n *Node) Pressures() []corev1.NodeConditionType { return n.reporter.pressures() }

// Close gives back the port of a Node that does not run.
func (n *Node) Close() error {
	if err := n.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("close kubelet API: %w", err)
	}
	return nil
}

// Port is where the kubelet's API listens.
func (n *Node) Port() int32 { return n.reporter.port }

// Ready is closed once the API server shows the node as Ready.
func (n *Node) Ready() <-chan struct{} { return n.ready }

// Signed is closed once the cluster has signed the serving certificate: from then on logs and exec work.
func (n *Node) Signed() <-chan struct{} { return n.serving.Signed() }

// SetNotReady takes the node out of scheduling, as the kubelet does when its machine shuts down.
func (n *Node) SetNotReady(reason, message string) {
	n.reporter.set(health{reason: reason, message: message})
}

// Leave says that the process ends, and returns once the API server knows, or ctx ends. Until the lease ends nobody would see
// it, and pods would be sent here.
func (n *Node) Leave(ctx context.Context) error {
	n.SetNotReady(shutdownReason, "vic is stopping")
	ticker := time.NewTicker(flushInterval)
	defer ticker.Stop()
	for {
		self := n.Self()
		if self == nil || hasShutDown(self) { // it was never registered, or is as it should be
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("say that node %s ends: %w", n.cfg.Name, ctx.Err())
		}
	}
}

func (n *Node) listen() error {
	l, err := n.cfg.Listen.open(context.Background())
	if err != nil {
		return err
	}
	n.listener = l
	if addr, ok := l.Addr().(*net.TCPAddr); ok {
		n.reporter.port = int32(addr.Port)
	}
	return nil
}

func (n *Node) buildPodLoop() error {
	// Virtual Kubelet wants informers of these and, as it resolves no environment, never reads them: they are not started.
	unused := informers.NewSharedInformerFactory(n.cfg.Clients.Main, 0).Core().V1()
	loop, err := node.NewPodController(node.PodControllerConfig{
		PodClient:                 podsClient{PodsGetter: n.cfg.Clients.Main.CoreV1(), finished: n.provider.finished},
		PodInformer:               n.pods.Core().V1().Pods(),
		EventRecorder:             quietRecorder{n.cfg.Recorder},
		Provider:                  n.provider,
		ConfigMapInformer:         unused.ConfigMaps(),
		SecretInformer:            unused.Secrets(),
		ServiceInformer:           unused.Services(),
		SkipDownwardAPIResolution: true,

		SyncPodsFromKubernetesRateLimiter:        newLimiter(),
		SyncPodsFromKubernetesShouldRetryFunc:    retryForever,
		DeletePodsFromKubernetesRateLimiter:      newLimiter(),
		DeletePodsFromKubernetesShouldRetryFunc:  retryForever,
		SyncPodStatusFromProviderRateLimiter:     newLimiter(),
		SyncPodStatusFromProviderShouldRetryFunc: retryForever,
	})
	if err != nil {
		return fmt.Errorf("make pod controller: %w", err)
	}
	n.podLoop = loop
	return nil
}

func (n *Node) buildCerts() error {
	d := &n.cfg.Description
	ip := net.ParseIP(d.InternalIP)
	if ip == nil {
		return fmt.Errorf("node's address %q is not an IP address", d.InternalIP)
	}
	cfg := certs.Config{NodeName: n.cfg.Name, IPs: []net.IP{ip}, DNSNames: []string{n.hostname()}, Dir: n.cfg.CertDir}
	if !n.cfg.SelfSigned {
		cfg.Client = n.cfg.Clients.Main
	}
	serving, err := certs.NewServing(cfg)
	if err != nil {
		return fmt.Errorf("node %s: %w", n.cfg.Name, err)
	}
	n.serving = serving
	if len(n.cfg.ClientCA) > 0 {
		n.clientCA, err = dynamiccertificates.NewStaticCAContent("client CA", n.cfg.ClientCA)
	} else {
		n.clientCA, err = dynamiccertificates.NewDynamicCAFromConfigMapController("client CA", metav1.NamespaceSystem,
			"extension-apiserver-authentication", "client-ca-file", n.cfg.Clients.Main)
	}
	if err != nil {
		return fmt.Errorf("read authority of client certificates: %w", err)
	}
	return nil
}

func (n *Node) buildAPI() error {
	auth, err := kubeletapi.NewAuth(kubeletapi.AuthConfig{
		Tokens: n.cfg.Clients.Tokens, Access: n.cfg.Clients.Access, NodeName: n.cfg.Name, ClientCA: n.clientCA,
	})
	if err != nil {
		return fmt.Errorf("protect kubelet API: %w", err)
	}
	n.api = kubeletapi.New(kubeletapi.Config{
		Containers: n.cfg.Containers,
		Pod: func(namespace, name string) (*corev1.Pod, error) {
			entry, err := n.provider.lookup(namespace, name)
			return entry.Pod, err
		},
		Pods: func(context.Context) ([]*corev1.Pod, error) {
			return n.provider.known.List(labels.Everything()) //nolint:wrapcheck // a list in memory
		},
		Auth:           auth,
		GetCertificate: n.serving.GetCertificate,
		Metrics:        n.cfg.Metrics,
		Usage:          n.cfg.Usage,
		Settings:       n.cfg.Settings,
	})
	return nil
}

func (n *Node) hostname() string {
	if n.cfg.Description.Hostname != "" {
		return n.cfg.Description.Hostname
	}
	return n.cfg.Name
}

// selecting limits what an informer lists and watches.
func selecting(field, value string) informers.SharedInformerOption {
	selector := fields.OneTermEqualSelector(field, value).String()
	return informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.FieldSelector = selector })
}

// slim leaves out what nobody here reads and may be half of an object.
func slim() informers.SharedInformerOption {
	return informers.WithTransform(func(obj any) (any, error) {
		if m, err := meta.Accessor(obj); err == nil { // else it is the mark of a lost deletion
			m.SetManagedFields(nil)
		}
		return obj, nil
	})
}
