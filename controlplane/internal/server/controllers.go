package server

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"k8s.io/client-go/rest"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app/options"
)

// Requests a second that the controllers' and the scheduler's clients may send, and at once.
const (
	clientQPS   = "2000"
	clientBurst = "4000"
)

// startControllers returns the controller manager and a check that its controllers run.
func startControllers(ctx context.Context, cfg Config) (*component, check, error) {
	kubeconfig, err := componentKubeconfig(cfg, "controller-manager", cfg.Credentials.ControllerManager)
	if err != nil {
		return nil, nil, err
	}
	// Else the controller manager makes this directory under /usr/libexec.
	plugins := filepath.Join(cfg.WorkDir, "flexvolume")
	if err := os.MkdirAll(plugins, 0o700); err != nil {
		return nil, nil, fmt.Errorf("create volume plug-in directory: %w", err)
	}
	o, err := options.NewKubeControllerManagerOptions()
	if err != nil {
		return nil, nil, fmt.Errorf("make controller manager's options: %w", err)
	}
	known, disabled, aliases := app.KnownControllers(), app.ControllersDisabledByDefault(), app.ControllerAliases()
	if err := controllersFlags(cfg, kubeconfig, plugins).apply(o.Flags(known, disabled, aliases)); err != nil {
		return nil, nil, fmt.Errorf("configure controller manager: %w", err)
	}
	// What the components' context carries must outlive the start.
	config, err := o.Config(context.WithoutCancel(ctx), known, disabled, aliases)
	if err != nil {
		return nil, nil, fmt.Errorf("configure controller manager: %w", err)
	}
	watched := watchFor(config.Kubeconfig)
	return startComponent(ctx, "controller manager", func(ctx context.Context) error {
		return app.Run(ctx, config.Complete())
	}), watched, nil
}

func controllersFlags(cfg Config, kubeconfig, plugins string) settings {
	c := cfg.Credentials
	return settings{
		"kubeconfig":                       kubeconfig,
		"kube-api-qps":                     clientQPS,
		"kube-api-burst":                   clientBurst,
		"leader-elect":                     "false",
		"secure-port":                      "0",
		"use-service-account-credentials":  "true",
		"root-ca-file":                     c.CA.CertFile,
		"service-account-private-key-file": c.ServiceAccountKeys.PrivateFile,
		"cluster-signing-cert-file":        c.CA.CertFile,
		"cluster-signing-key-file":         c.CA.KeyFile,
		"flex-volume-plugin-dir":           plugins,
		"controller-shutdown-timeout":      controllersStopLimit.String(),
	}
}

// watchFor returns a check that passes once a watch was answered on a client made from config. The controller manager
// watches with it only after all controllers are built, immediately before it runs them; it has no other sign
// of that, and what the controllers create may be there from the last time.
func watchFor(config *rest.Config) check {
	began := make(chan struct{})
	var once sync.Once
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return &watchNoticer{next: next, notice: func() { once.Do(func() { close(began) }) }}
	})
	return func(context.Context) error {
		select {
		case <-began:
			return nil
		default:
			return notYetError("no informer watches")
		}
	}
}

// watchNoticer calls notice for each watch that is answered well.
type watchNoticer struct {
	next   http.RoundTripper
	notice func()
}

func (w *watchNoticer) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := w.next.RoundTrip(r)
	if err == nil && response.StatusCode == http.StatusOK && r.URL.Query().Has("watch") {
		w.notice()
	}
	return response, err
}

// WrappedRoundTripper lets client-go reach the transport below, for instance to close idle connections.
func (w *watchNoticer) WrappedRoundTripper() http.RoundTripper { return w.next }
