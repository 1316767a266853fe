package provider

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	vklog "github.com/virtual-kubelet/virtual-kubelet/log"
	"github.com/virtual-kubelet/virtual-kubelet/node"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	clientcache "k8s.io/client-go/tools/cache"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/wait"
)

const (
	// registerRetry is the pause before the node is registered again when the API server could not be reached.
	registerRetry = 2 * time.Second
	// flushInterval is how often Flush looks.
	flushInterval = 20 * time.Millisecond
	// debugVerbosity makes what client-go says at its usual level a debug line: -4 is slog.LevelDebug.
	debugVerbosity = 4
)

// Run is the node until ctx ends, or until the kubelet API can't be served or the Node is somebody else's. The statuses that are known by then are
// written only after Flush. A Node runs once.
func (n *Node) Run(ctx context.Context) error {
	ctx = logging.With(ctx, "node", n.cfg.Name)
	ctx = vklog.WithLogger(ctx, vkLogger{l: logging.From(ctx)})
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return n.api.Serve(ctx, n.listener) })
	g.Go(func() error { n.serving.Run(ctx); return nil })
	if ca, ok := n.clientCA.(interface{ Run(context.Context, int) }); ok {
		quiet := logr.NewContext(ctx, logr.FromContextOrDiscard(ctx).V(debugVerbosity))
		g.Go(func() error { ca.Run(quiet, 1); return nil })
	}
	g.Go(func() error { n.publisher.run(ctx); return nil })
	g.Go(func() error { n.reporter.run(ctx); return nil })
	g.Go(func() error {
		if err := n.claim(ctx); err != nil {
			return err
		}
		g.Go(func() error { return n.runPods(ctx) })
		g.Go(func() error { return n.runNode(ctx) })
		return nil
	})
	if err := g.Wait(); refused(err) {
		return err // it names the node
	} else if err != nil {
		return fmt.Errorf("run node %s: %w", n.cfg.Name, err)
	}
	return nil
}

// Flush returns once every status that is known now has been given to the API server, or ctx ends.
func (n *Node) Flush(ctx context.Context) error {
	n.publisher.flush()
	ticker := time.NewTicker(flushInterval)
	defer ticker.Stop()
	for !n.publisher.flushed() || n.podLoop.SyncPodStatusFromProviderQueueLen() > 0 {
		select {
		case <-ctx.Done():
			return fmt.Errorf("write statuses: %w", ctx.Err())
		case <-ticker.C:
		}
	}
	return nil
}

// runPods watches pods and lets Virtual Kubelet write their statuses.
func (n *Node) runPods(ctx context.Context) error {
	informer := n.pods.Core().V1().Pods().Informer()
	watch := &podWatch{manager: n.cfg.Manager, references: n.cfg.References, changed: n.publisher.changed}
	registration, err := informer.AddEventHandler(watch)
	if err != nil {
		return fmt.Errorf("watch pods: %w", err)
	}
	n.pods.Start(ctx.Done())
	defer n.pods.Shutdown()
	if !clientcache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
		return nil
	}
	known, err := n.provider.known.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	copies := make([]*corev1.Pod, 0, len(known))
	for _, pod := range known {
		copies = append(copies, pod.DeepCopy())
	}
	n.cfg.Manager.Resync(copies)
	if err := n.podLoop.Run(ctx, podWorkers); err != nil && ctx.Err() == nil {
		return fmt.Errorf("run pod controller: %w", err)
	}
	return nil
}

// runNode registers the node once its pods are looked after, and keeps it registered.
func (n *Node) runNode(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-n.podLoop.Ready():
	}
	if err := n.watchSelf(); err != nil {
		return err
	}
	n.self.Start(ctx.Done())
	defer n.self.Shutdown()
	n.reporter.events.starting()
	n.reporter.set(health{ready: true, reason: "VCHReady", message: "the VCH runs pods"})
	for {
		err := n.keepRegistered(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if refused(err) {
			return err
		}
		logging.From(ctx).WarnContext(ctx, "node not registered", "err", err)
		if wait.For(ctx, registerRetry) != nil {
			return nil
		}
	}
}

// keepRegistered registers the node and renews its lease until ctx ends or the registration fails.
func (n *Node) keepRegistered(ctx context.Context) error {
	object, err := n.reporter.register(ctx)
	if err != nil {
		return err
	}
	client := n.cfg.Clients.Main
	loop, err := node.NewNodeController(n.reporter, object, client.CoreV1().Nodes(),
		node.WithNodeEnableLeaseV1(client.CoordinationV1().Leases(corev1.NamespaceNodeLease), node.DefaultLeaseDuration),
		node.WithNodeStatusUpdateErrorHandler(n.reporter.recreate))
	if err != nil {
		return fmt.Errorf("make node controller: %w", err)
	}
	if err := loop.Run(ctx); err != nil {
		return fmt.Errorf("run node controller: %w", err)
	}
	return nil
}

// watchSelf brings a deleted node back at once, whoever makes it anew, and sees when it is Ready. Its pods would be deleted
// soon after.
func (n *Node) watchSelf() error {
	var once sync.Once // guards the closing of ready
	begin := time.Now().Truncate(time.Second)
	look := func(obj any) {
		if self, ok := obj.(*corev1.Node); ok && readySince(self, begin) {
			once.Do(func() { close(n.ready) })
		}
	}
	_, err := n.self.Core().V1().Nodes().Informer().AddEventHandler(clientcache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { look(obj); n.reporter.madeAnew() },
		UpdateFunc: func(_, obj any) { look(obj) },
		DeleteFunc: func(any) { n.reporter.kick(true) },
	})
	if err != nil {
		return fmt.Errorf("watch own node: %w", err)
	}
	return nil
}

// readySince is not taken in by what a former run has left.
func readySince(n *corev1.Node, begin time.Time) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue && !c.LastHeartbeatTime.Time.Before(begin)
		}
	}
	return false
}
