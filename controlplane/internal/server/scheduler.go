package server

import (
	"context"
	"fmt"
	"path/filepath"

	"k8s.io/kubernetes/cmd/kube-scheduler/app"
	"k8s.io/kubernetes/cmd/kube-scheduler/app/options"

	"github.com/virtual-kubelet/vic/controlplane/internal/pki"
)

// startScheduler returns the scheduler and a check that it schedules.
func startScheduler(ctx context.Context, cfg Config) (*component, check, error) {
	kubeconfig, err := componentKubeconfig(cfg, "scheduler", cfg.Credentials.Scheduler)
	if err != nil {
		return nil, nil, err
	}
	o := options.NewOptions()
	flags := settings{
		"kubeconfig":     kubeconfig,
		"kube-api-qps":   clientQPS,
		"kube-api-burst": clientBurst,
		"leader-elect":   "false",
		"secure-port":    "0",
	}
	if err := flags.apply(*o.Flags); err != nil {
		return nil, nil, fmt.Errorf("configure scheduler: %w", err)
	}
	// The informers that Setup makes must outlive the start.
	setup, cancel := context.WithCancel(context.WithoutCancel(ctx))
	config, scheduler, err := app.Setup(setup, o)
	if err != nil {
		cancel()
		return nil, nil, fmt.Errorf("configure scheduler: %w", err)
	}
	c := startComponent(ctx, "scheduler", func(ctx context.Context) error {
		defer cancel()
		return app.Run(ctx, config, scheduler)
	})
	return c, scheduler.WaitForHandlersSync, nil
}

// componentKubeconfig writes the kubeconfig of a component that takes one by name.
func componentKubeconfig(cfg Config, name string, p pki.Pair) (string, error) {
	path := filepath.Join(cfg.WorkDir, name+".kubeconfig")
	return path, cfg.Credentials.WriteKubeconfig(path, cfg.Endpoint(), p)
}
