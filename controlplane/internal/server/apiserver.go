package server

import (
	"context"
	"fmt"
	"path/filepath"

	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/client-go/rest"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"

	"github.com/virtual-kubelet/vic/controlplane/internal/atomicfile"
	"github.com/virtual-kubelet/vic/controlplane/internal/pki"
)

// Issuer is who service-account tokens say they are from, and whom they are for unless asked otherwise.
const Issuer = "https://kubernetes.default.svc.cluster.local"

// authentication opens the three health endpoints to those without credentials, and nothing else.
const authentication = `apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
anonymous:
  enabled: true
  conditions:
  - path: /livez
  - path: /readyz
  - path: /healthz
`

// startAPIServer returns once the server listens; that it serves is to be waited for.
func startAPIServer(ctx context.Context, cfg Config, etcd string) (*component, error) {
	file := filepath.Join(cfg.WorkDir, "authentication.yaml")
	if err := atomicfile.Write(file, []byte(authentication), 0o600); err != nil {
		return nil, err
	}
	// The components watch old API versions too, and would warn each other of that in the log.
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
	o := options.NewServerRunOptions()
	flags := apiServerFlags(cfg, etcd)
	flags["authentication-config"] = file
	if err := flags.apply(o.Flags()); err != nil {
		return nil, fmt.Errorf("configure API server: %w", err)
	}
	o.SecureServing.Listener = cfg.Listener
	if err := o.GenericServerRunOptions.ComponentGlobalsRegistry.Set(); err != nil {
		return nil, fmt.Errorf("configure API server's features: %w", err)
	}
	completed, err := o.Complete(ctx)
	if err != nil {
		return nil, fmt.Errorf("configure API server: %w", err)
	}
	if err := utilerrors.NewAggregate(completed.Validate()); err != nil {
		return nil, fmt.Errorf("configure API server: %w", err)
	}
	return startComponent(ctx, "API server", func(ctx context.Context) error {
		return app.Run(ctx, completed)
	}), nil
}

func apiServerFlags(cfg Config, etcd string) settings {
	c := cfg.Credentials
	advertise := "127.0.0.1"
	if cfg.PodListen.IsValid() {
		advertise = cfg.PodListen.Addr().String()
	}
	return settings{
		"etcd-servers":             etcd,
		"advertise-address":        advertise,
		"service-cluster-ip-range": cfg.ServiceCIDR.String(),
		"endpoint-reconciler-type": "none",
		"allow-privileged":         "true",
		"authorization-mode":       "Node,RBAC",
		"enable-admission-plugins": "NodeRestriction",

		"tls-cert-file":                   c.APIServer.CertFile,
		"tls-private-key-file":            c.APIServer.KeyFile,
		"client-ca-file":                  c.CA.CertFile,
		"kubelet-certificate-authority":   c.CA.CertFile,
		"kubelet-client-certificate":      c.KubeletClient.CertFile,
		"kubelet-client-key":              c.KubeletClient.KeyFile,
		"kubelet-preferred-address-types": "InternalIP,ExternalIP,Hostname",

		"service-account-issuer":           Issuer,
		"service-account-key-file":         c.ServiceAccountKeys.PublicFile,
		"service-account-signing-key-file": c.ServiceAccountKeys.PrivateFile,

		"requestheader-client-ca-file":       c.FrontProxyCA.CertFile,
		"requestheader-allowed-names":        pki.FrontProxyUser,
		"requestheader-username-headers":     "X-Remote-User",
		"requestheader-group-headers":        "X-Remote-Group",
		"requestheader-extra-headers-prefix": "X-Remote-Extra-",
		"proxy-client-cert-file":             c.FrontProxyClient.CertFile,
		"proxy-client-key-file":              c.FrontProxyClient.KeyFile,
		"enable-aggregator-routing":          "true",
	}
}
