package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/virtual-kubelet/vic/api/v1alpha1"
	"github.com/virtual-kubelet/vic/controllers"
	"github.com/virtual-kubelet/vic/internal/logging"
)

// newManager makes what elects a leader, answers probes and runs controllers.
func (s *nodeServer) newManager(ctx context.Context, listening *readiness) (ctrl.Manager, error) {
	options, err := s.managerOptions(ctx)
	if err != nil {
		return nil, err
	}
	m, err := ctrl.NewManager(rest.CopyConfig(s.api), options)
	if err != nil {
		return nil, fmt.Errorf("make manager: %w", err)
	}
	alive := func(*http.Request) error { return nil }
	if err := errors.Join(m.AddHealthzCheck("process", alive), m.AddReadyzCheck("nodes", listening.check)); err != nil {
		return nil, fmt.Errorf("serve probes: %w", err)
	}
	return m, nil
}

func (s *nodeServer) managerOptions(ctx context.Context) (ctrl.Options, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return ctrl.Options{}, fmt.Errorf("make scheme: %w", err)
	}
	logger := logr.FromSlogHandler(logging.From(ctx).Handler())
	ctrl.SetLogger(logger) // its own default complains that there is none
	options := ctrl.Options{
		Scheme: scheme, Logger: logger,
		Metrics:                metricsserver.Options{BindAddress: "0"}, // each node has its own, behind the kubelet's API
		HealthProbeBindAddress: s.file.HealthListen,
		BaseContext:            func() context.Context { return ctx },
	}
	if f := s.file.Controller; f != nil {
		// All that is kept in memory of the cluster: secrets of one namespace, and nodes of this kind.
		options.Cache = cache.Options{ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}: {Namespaces: map[string]cache.Config{f.Namespace: {}}},
			&corev1.Node{}:   {Label: labels.SelectorFromSet(labels.Set{controllers.NodeTypeLabel: controllers.NodeType})},
		}}
	}
	if l := s.file.LeaderElection; l != nil {
		options.LeaderElection, options.LeaderElectionReleaseOnCancel = true, true
		options.LeaderElectionNamespace, options.LeaderElectionID = l.Namespace, l.Name
	}
	return options, nil
}

// readiness is whether this process serves nodes: it leads, and listens to guests.
type readiness struct{ begun chan struct{} }

func newReadiness() *readiness { return &readiness{begun: make(chan struct{})} }

// begin is called once.
func (r *readiness) begin() { close(r.begun) }

func (r *readiness) wait(ctx context.Context) error {
	select {
	case <-r.begun:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// check answers a probe.
func (r *readiness) check(*http.Request) error {
	select {
	case <-r.begun:
		return nil
	default:
		return errors.New("another process leads, or this one has only begun")
	}
}
