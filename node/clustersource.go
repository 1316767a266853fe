package node

import (
	"context"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/virtual-kubelet/vic/api/v1alpha1"
	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/controllers"
	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/version"
)

const (
	// changesBacklog is how many nodes may have changed that nobody has looked at.
	changesBacklog = 1024
	// observeTimeout bounds the question what a VCH offers.
	observeTimeout = 10 * time.Second
)

// clusterSource has the fleet be what the cluster's VirtualContainerHosts say. It implements controllers.Nodes.
type clusterSource struct {
	fleet     *Fleet
	ready     *readiness
	namespace string
	nodes     nodes
	changed   chan event.GenericEvent

	mu     sync.Mutex               // guards what follows
	owners map[string]string        // VCHs by what they claim
	served map[string]*config.Entry // by name: as it was applied last
}

var _ controllers.Nodes = (*clusterSource)(nil)

func newClusterSource(s *server, ready *readiness) *clusterSource {
	c := &clusterSource{
		ready: ready, namespace: s.Settings.Namespace, nodes: s,
		changed: make(chan event.GenericEvent, changesBacklog), owners: map[string]string{}, served: map[string]*config.Entry{},
	}
	c.fleet = NewFleet(func(name string) {
		select {
		case c.changed <- event.GenericEvent{Object: &v1alpha1.VirtualContainerHost{ObjectMeta: metav1.ObjectMeta{Name: name}}}:
		default: // it is looked at soon without it
		}
	})
	return c
}

// setUp implements source. Controllers begin when this process leads; they wait until it listens.
func (c *clusterSource) setUp(m ctrl.Manager) error {
	reconciler := &controllers.VirtualContainerHosts{
		Client: m.GetClient(), API: m.GetAPIReader(), Nodes: c, Version: version.Version,
		Credentials: controllers.CredentialSecrets{Reader: m.GetClient(), Namespace: c.namespace},
	}
	return reconciler.SetUp(m, c.changed)
}

func (c *clusterSource) authority(m ctrl.Manager) AuthorityKeeper {
	return secretAuthority(m.GetClient(), m.GetAPIReader(), c.namespace)
}

// run implements source: the controllers do it all.
func (c *clusterSource) run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Serve implements controllers.Nodes.
func (c *clusterSource) Serve(ctx context.Context, o *v1alpha1.VirtualContainerHost, credentials controllers.Credentials) error {
	if err := c.ready.wait(ctx); err != nil {
		return err
	}
	v := ofObject(o, credentials)
	if err := v.CheckObject(); err != nil {
		return err
	}
	spec, err := c.nodes.spec(v)
	if err != nil {
		return err
	}
	if err := c.claim(&v.Entry); err != nil {
		return err
	}
	if err := c.fleet.Apply(ctx, v.Name, spec); err != nil {
		return fmt.Errorf("change refused, the node is as it was: %w", err)
	}
	return nil
}

// claim takes for a VCH what no other may have.
func (c *clusterSource) claim(e *config.Entry) error {
	claims := e.Claims()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, claim := range claims {
		if owner, ok := c.owners[claim]; ok && owner != e.Name {
			return fmt.Errorf("spec.%s is that of VCH %s", claim, owner)
		}
	}
	for _, claim := range claims {
		c.owners[claim] = e.Name
	}
	c.served[e.Name] = e
	return nil
}

// release gives back what a VCH claims, and returns it as it was applied last; nil where it never was.
func (c *clusterSource) release(name string) *config.Entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	for claim, owner := range c.owners {
		if owner == name {
			delete(c.owners, claim)
		}
	}
	e := c.served[name]
	delete(c.served, name)
	return e
}

// Known implements controllers.Nodes.
func (c *clusterSource) Known(name string) bool {
	_, ok := c.fleet.State(name)
	return ok
}

// Observe implements controllers.Nodes.
func (c *clusterSource) Observe(ctx context.Context, name string) (controllers.Observed, bool) {
	state, ok := c.fleet.State(name)
	if !ok || state.Node == nil {
		return controllers.Observed{Err: state.Err}, ok
	}
	ctx, cancel := context.WithTimeout(ctx, observeTimeout)
	defer cancel()
	observed := controllers.Observed{Open: true}
	capacity, inUse, err := state.Node.Offers(ctx)
	if err != nil {
		logging.From(ctx).DebugContext(ctx, "VCH not observed", "err", err)
		return observed, true
	}
	observed.Capacity, observed.InUse = capacity, inUse
	return observed, true
}

// Remove implements controllers.Nodes.
func (c *clusterSource) Remove(ctx context.Context, name string) error {
	if err := c.fleet.Remove(ctx, name); err != nil {
		return err
	}
	if e := c.release(name); e != nil {
		return c.nodes.purge(ctx, e)
	}
	return nil
}

// Abandon implements controllers.Nodes. The state stays, for VMs that stay.
func (c *clusterSource) Abandon(_ context.Context, name string) error {
	c.fleet.Abandon(name)
	c.release(name)
	return nil
}
