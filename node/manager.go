package node

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
	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/internal/logging"
)

// newManager makes what elects a leader, answers probes and runs controllers.
func (s *server) newManager(ctx context.Context, ready *readiness) (ctrl.Manager, error) {
	options, err := s.managerOptions(ctx)
	if err != nil {
		return nil, err
	}
	m, err := ctrl.NewManager(rest.CopyConfig(s.API), options)
	if err != nil {
		return nil, fmt.Errorf("make manager: %w", err)
	}
	alive := func(*http.Request) error { return nil }
	if err := errors.Join(m.AddHealthzCheck("process", alive), m.AddReadyzCheck("nodes", ready.check)); err != nil {
		return nil, fmt.Errorf("serve probes: %w", err)
	}
	return m, nil
}

func (s *server) managerOptions(ctx context.Context) (ctrl.Options, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return ctrl.Options{}, fmt.Errorf("make scheme: %w", err)
	}
	logger := logr.FromSlogHandler(logging.From(ctx).Handler())
	ctrl.SetLogger(logger) // its own default complains that there is none
	settings := s.Settings
	options := ctrl.Options{
		Scheme: scheme, Logger: logger,
		Metrics:                metricsserver.Options{BindAddress: "0"}, // each node has its own, behind the kubelet's API
		HealthProbeBindAddress: settings.HealthListen,
		BaseContext:            func() context.Context { return ctx },
	}
	if settings.Controller {
		// All that is kept in memory of the cluster: secrets of one namespace, and nodes of this kind.
		options.Cache = cache.Options{ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}: {Namespaces: map[string]cache.Config{settings.Namespace: {}}},
			&corev1.Node{}:   {Label: labels.SelectorFromSet(labels.Set{config.NodeTypeLabel: config.NodeType})},
		}}
	}
	if l := settings.LeaderElection; l != nil {
		options.LeaderElection, options.LeaderElectionReleaseOnCancel = true, true
		options.LeaderElectionNamespace, options.LeaderElectionID = settings.Namespace, l.Name
	}
	return options, nil
}
