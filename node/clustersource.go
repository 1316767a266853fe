package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/virtual-kubelet/vic/api/v1alpha1"
	"github.com/virtual-kubelet/vic/controllers"
	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/version"
	"github.com/virtual-kubelet/vic/node"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/channels"
	"github.com/virtual-kubelet/vic/provider"
)

const (
	// authoritySecret has the authority that guests trust, so that another process can take their channels.
	authoritySecret = "vic-guests"
	authorityKey    = "authority.pem"
	// changesBacklog is how many nodes may have changed that nobody has looked at.
	changesBacklog = 1024
	// observeTimeout bounds the question what a VCH offers.
	observeTimeout = 10 * time.Second
)

// addController has the manager serve the cluster's VirtualContainerHosts when this process leads.
func (s *nodeServer) addController(m ctrl.Manager, listening *readiness) error {
	changed := make(chan event.GenericEvent, changesBacklog)
	nodes := &clusterNodes{server: s, listening: listening, owners: map[string]string{}}
	nodes.fleet = node.NewFleet(func(name string) {
		select {
		case changed <- event.GenericEvent{Object: &v1alpha1.VirtualContainerHost{ObjectMeta: metav1.ObjectMeta{Name: name}}}:
		default: // it is looked at soon without it
		}
	})
	// It begins with the controllers, when this process leads; they wait until it listens.
	err := m.Add(manager.RunnableFunc(func(ctx context.Context) error {
		unlock, err := s.lockState(ctx)
		if err != nil {
			return err
		}
		defer unlock()
		ctx, cancel := context.WithCancel(ctx)
		var running sync.WaitGroup
		running.Go(func() { nodes.fleet.Run(ctx) })
		defer running.Wait()
		defer cancel()
		err = s.openGuests(ctx, func() (*channels.Authority, error) {
			return clusterAuthority(ctx, m.GetClient(), m.GetAPIReader(), s.file.Controller.Namespace)
		})
		if err != nil {
			return err
		}
		defer s.guests.close()
		listening.begin()
		tellReady(ctx)
		return s.guests.run(ctx)
	}))
	if err != nil {
		return err
	}
	reconciler := &controllers.VirtualContainerHosts{
		Client: m.GetClient(), API: m.GetAPIReader(), Namespace: s.file.Controller.Namespace, Nodes: nodes, Version: version.Version,
	}
	return reconciler.SetUp(m, changed)
}

// clusterAuthority reads the authority that guests trust from its secret, or makes both.
func clusterAuthority(ctx context.Context, c client.Client, api client.Reader, namespace string) (*channels.Authority, error) {
	key := client.ObjectKey{Namespace: namespace, Name: authoritySecret}
	var secret corev1.Secret
	err := api.Get(ctx, key, &secret)
	if apierrors.IsNotFound(err) {
		pem, failed := channels.MakeAuthority()
		if failed != nil {
			return nil, failed
		}
		secret = corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: authoritySecret}, Data: map[string][]byte{authorityKey: pem}}
		if err = c.Create(ctx, &secret); apierrors.IsAlreadyExists(err) {
			err = api.Get(ctx, key, &secret)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("authority of guests in Secret %s: %w", key, err)
	}
	a, err := channels.ParseAuthority(secret.Data[authorityKey])
	if err != nil {
		return nil, fmt.Errorf("authority of guests in Secret %s, key %s: %w", key, authorityKey, err)
	}
	return a, nil
}

// clusterNodes are the nodes of the cluster's VirtualContainerHosts. It implements controllers.Nodes.
type clusterNodes struct {
	server    *nodeServer
	fleet     *node.Fleet
	listening *readiness

	mu     sync.Mutex        // guards what follows
	owners map[string]string // VCHs by what they claim
}

// Serve implements controllers.Nodes.
func (c *clusterNodes) Serve(ctx context.Context, vch *v1alpha1.VirtualContainerHost, credentials controllers.Credentials) error {
	if err := c.listening.wait(ctx); err != nil {
		return err
	}
	n, err := vchOf(vch, credentials)
	if err == nil {
		err = c.server.file.checkVCH(n)
	}
	if err != nil {
		return fmt.Errorf("spec: %w", err)
	}
	ca := sha256.Sum256(credentials.CA)
	spec, err := c.server.spec(n, credentials.Username, hex.EncodeToString(ca[:]))
	if err != nil {
		return err
	}
	if err := c.claim(vch.Name, append(n.claims(), nodeClaim+n.NodeName)); err != nil {
		return err
	}
	if err := c.fleet.Apply(ctx, vch.Name, spec); err != nil {
		return fmt.Errorf("change refused, the node is as it was: %w", err)
	}
	return nil
}

// nodeClaim begins the claim of a node's name.
const nodeClaim = "nodeName "

// claim takes for a VCH what no other may have.
func (c *clusterNodes) claim(vch string, claims []string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, claim := range claims {
		if owner, ok := c.owners[claim]; ok && owner != vch {
			return fmt.Errorf("spec: %s is that of VCH %s", claim, owner)
		}
	}
	for _, claim := range claims {
		c.owners[claim] = vch
	}
	return nil
}

// Known implements controllers.Nodes.
func (c *clusterNodes) Known(name string) bool {
	_, ok := c.fleet.State(name)
	return ok
}

// Observe implements controllers.Nodes.
func (c *clusterNodes) Observe(ctx context.Context, name string) (controllers.Observed, bool) {
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

// Offers implements node.Served.
func (n *servedNode) Offers(ctx context.Context) (capacity, inUse corev1.ResourceList, err error) {
	c, err := n.host.Capacity(ctx)
	if err != nil {
		return nil, nil, err
	}
	vms, err := n.host.List(ctx)
	if err != nil {
		return nil, nil, err
	}
	var milli, bytes int64
	for _, vm := range vms {
		milli += vm.Spec.Size.CPUMilli
		bytes += vm.Spec.Size.MemoryBytes
	}
	return provider.CapacityOf(c), corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewMilliQuantity(milli, resource.DecimalSI),
		corev1.ResourceMemory: *resource.NewQuantity(bytes, resource.BinarySI),
		corev1.ResourcePods:   *resource.NewQuantity(int64(len(vms)), resource.DecimalSI),
	}, nil
}

// Remove implements controllers.Nodes.
func (c *clusterNodes) Remove(ctx context.Context, name string) error {
	if err := c.fleet.Remove(ctx, name); err != nil {
		return err
	}
	var failed error
	for _, name := range c.release(name) {
		failed = errors.Join(failed, purgeVCH(ctx, c.server.state.VCHOf(name)))
	}
	return failed
}

// Abandon implements controllers.Nodes. The state stays, for VMs that stay.
func (c *clusterNodes) Abandon(_ context.Context, name string) error {
	c.fleet.Abandon(name)
	c.release(name)
	return nil
}

// release gives back what a VCH claims, and returns the names of its nodes.
func (c *clusterNodes) release(vch string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var nodes []string
	for claim, owner := range c.owners {
		if owner != vch {
			continue
		}
		if name, ok := strings.CutPrefix(claim, nodeClaim); ok {
			nodes = append(nodes, name)
		}
		delete(c.owners, claim)
	}
	return nodes
}
