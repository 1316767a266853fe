package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/virtual-kubelet/vic/controlplane/internal/pki"
)

const (
	// startLimit is generous: the usual two seconds become many on a machine that boots a dozen VMs meanwhile.
	startLimit = 3 * time.Minute

	// What each part gets to stop, together below ten seconds. Open exec and log streams hold the API server up, and
	// it is right to cut them.
	controllersStopLimit = 3 * time.Second
	apiServerStopLimit   = 3 * time.Second
	etcdStopLimit        = 3 * time.Second
)

// Config is what one control plane needs.
type Config struct {
	// EtcdDir holds etcd's data and its socket.
	EtcdDir string
	// WorkDir is for small files that the components are given by name.
	WorkDir string
	// Listener is where the API server listens; Run closes it. Its address is one of loopback.
	Listener net.Listener
	// PodListen is the further address in Listener, and the zero value means none.
	PodListen netip.AddrPort
	// ServiceCIDR is the range of Service addresses; its first one is the API server's.
	ServiceCIDR netip.Prefix
	// Credentials are for Endpoint, and for AdminKubeconfig.
	Credentials *pki.Set
	// AdminKubeconfig is the file by which Run itself speaks to the API server.
	AdminKubeconfig string
	// NodeName is the node whose rights are set up.
	NodeName string
	// Log takes etcd's log; the other parts write to klog.
	Log io.Writer
	// Fatal ends the process with a cause. etcd calls it for what it can't go on after, such as a full disk.
	Fatal func(cause string)
}

// Endpoint is the API server's URL on this machine.
func (c *Config) Endpoint() string { return "https://" + c.Listener.Addr().String() }

// ServiceIP is the address of the Service kubernetes.default.
func (c *Config) ServiceIP() net.IP { return FirstIP(c.ServiceCIDR) }

// FirstIP is the first address of a range that a Service may have.
func FirstIP(cidr netip.Prefix) net.IP { return cidr.Masked().Addr().Next().AsSlice() }

// Run starts everything, calls ready once, and goes on until ctx ends, when it stops everything and returns nil. It
// returns early, with the cause, when a part ends by itself. It uses process-wide state of Kubernetes' libraries and
// can be called only once in a process.
func Run(ctx context.Context, cfg Config, ready func() error) (err error) {
	p := &parts{}
	defer func() { err = errors.Join(err, p.stop()) }()
	if err := p.start(ctx, cfg); err != nil {
		if ctx.Err() != nil {
			return nil // whoever stopped us meanwhile does not want to hear what that broke
		}
		return err
	}
	if err := ready(); err != nil {
		return err
	}
	return p.wait(ctx)
}

// parts are the components that run.
type parts struct {
	etcd        *etcdServer
	apiServer   *component
	controllers *component
	scheduler   *component
}

// start returns once everything is ready.
func (p *parts) start(ctx context.Context, cfg Config) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("not ready within %s", startLimit))
	defer cancel()
	var err error
	if p.etcd, err = startEtcd(ctx, cfg); err != nil {
		return errors.Join(err, cfg.Listener.Close())
	}
	if p.apiServer, err = startAPIServer(ctx, cfg, p.etcd.endpoint()); err != nil {
		return errors.Join(err, cfg.Listener.Close())
	}
	client, err := newClient(cfg.AdminKubeconfig)
	if err != nil {
		return err
	}
	if err := p.until(ctx, "API server", apiServerReady(client)); err != nil {
		return err
	}
	var controllersReady, schedulerReady check
	if p.controllers, controllersReady, err = startControllers(ctx, cfg); err != nil {
		return err
	}
	if p.scheduler, schedulerReady, err = startScheduler(ctx, cfg); err != nil {
		return err
	}
	if err := bootstrapNode(ctx, client, cfg.NodeName); err != nil {
		return err
	}
	if err := p.until(ctx, "controllers", controllersReady); err != nil {
		return err
	}
	if err := p.until(ctx, "scheduler", schedulerReady); err != nil {
		return err
	}
	return p.until(ctx, "first objects", firstObjects(client, cfg.ServiceIP()))
}

// wait returns nil when ctx ends, and an error when a part does.
func (p *parts) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-p.etcd.failed():
		return p.etcd.failure()
	case <-p.apiServer.done:
		return p.apiServer.ended()
	case <-p.controllers.done:
		return p.controllers.ended()
	case <-p.scheduler.done:
		return p.scheduler.ended()
	}
}

// stop stops what was started, in the opposite order.
func (p *parts) stop() error {
	limit := time.Now().Add(controllersStopLimit)
	p.scheduler.cancel()
	p.controllers.cancel()
	errs := []error{
		p.scheduler.wait(time.Until(limit)),
		p.controllers.wait(time.Until(limit)),
	}
	p.apiServer.cancel()
	errs = append(errs, p.apiServer.wait(apiServerStopLimit))
	if p.etcd != nil {
		errs = append(errs, p.etcd.stop(etcdStopLimit))
	}
	return errors.Join(errs...)
}

func newClient(kubeconfig string) (kubernetes.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("load admin kubeconfig: %w", err)
	}
	config.QPS = -1 // no limit: a caller that waits for the start asks often
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make admin client: %w", err)
	}
	return client, nil
}
