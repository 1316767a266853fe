package kubeletapi

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/virtual-kubelet/virtual-kubelet/node/api"
	corev1 "k8s.io/api/core/v1"
	statsv1alpha1 "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/operations"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
)

const (
	// streamIdleTimeout is how long an exec, attach or port-forward may be silent; the kubelet's own default. Virtual
	// Kubelet's, 30 seconds, ends an open shell while its user reads.
	streamIdleTimeout = 4 * time.Hour
	// streamCreationTimeout is how long a client may take to open the streams of one exec, attach or port-forward.
	streamCreationTimeout = 30 * time.Second
	// headerTimeout is how long a client may take for its handshake, and then for the head of a request.
	headerTimeout = 10 * time.Second
	// idleTimeout is how long an unused connection is kept; longer than scrapers' intervals, so that they need no new one.
	idleTimeout = 3 * time.Minute
)

// Containers is the part of operations that serves streams. Errors are those of portlayer.
type Containers interface {
	// Running reports whether a container's process runs; with an empty Container, whether the pod's VM does.
	Running(ctx context.Context, c operations.Container) error
	Logs(ctx context.Context, c operations.Container, opts podvm.LogOptions) (io.ReadCloser, error)
	Exec(ctx context.Context, c operations.Container, exec wire.Exec, s podvm.Stdio) (wire.Exit, error)
	Attach(ctx context.Context, c operations.Container, attach wire.Attach, s podvm.Stdio) (wire.Exit, error)
	DialPort(ctx context.Context, namespace, name string, port uint16) (io.ReadWriteCloser, error)
}

// Usage measures what pods and the node use.
type Usage interface {
	Resource(ctx context.Context) ([]*dto.MetricFamily, error)
	Summary(ctx context.Context) (*statsv1alpha1.Summary, error)
}

// Config is what a Server needs.
type Config struct {
	Containers Containers
	// Pod returns the pod of that name with the status that was observed last, portlayer.ErrNotFound where there is none.
	Pod func(namespace, name string) (*corev1.Pod, error)
	// Pods returns the pods of this node.
	Pods func(ctx context.Context) ([]*corev1.Pod, error)
	Auth Auth
	// GetCertificate returns the serving certificate.
	GetCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Metrics is what /metrics shows.
	Metrics prometheus.Gatherer
	// Usage is what /metrics/resource and /stats/summary show; nil serves neither.
	Usage Usage
	// Settings is what /configz shows, as JSON; it holds no secret.
	Settings any
	// Healthy answers /healthz; nil is always healthy.
	Healthy func() error
}

// Server serves the kubelet's API.
type Server struct {
	cfg     Config
	handler http.Handler
}

// New returns a Server.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg}
	s.handler = cfg.Auth.protect(s.routes())
	return s
}

// Handler returns the whole API behind authentication and authorization.
func (s *Server) Handler() http.Handler { return s.handler }

// Serve answers on l, over TLS, until ctx ends; then it closes l and every connection.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	var known acquaintances
	server := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		// Requests end with ctx, and with them the streams, whose connections the server does not know.
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: known.withAdmission,
		ErrorLog:    slog.NewLogLogger(logging.From(ctx).Handler(), slog.LevelDebug),
		TLSConfig: &tls.Config{
			MinVersion:     tls.VersionTLS12,
			GetCertificate: s.cfg.GetCertificate,
			// Asked for and not required: metrics-server comes with a bearer token.
			ClientAuth: tls.RequestClientCert,
		},
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() }) // it only repeats what Serve returns
	defer stop()
	if err := server.ServeTLS(lingering{known.bound(l)}, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve kubelet API on %s: %w", l.Addr(), err)
	}
	return nil
}

func (s *Server) routes() http.Handler {
	r := mux.NewRouter()
	r.StrictSlash(true)
	const container = "/{namespace}/{pod}/{container}"
	stream := []string{http.MethodGet, http.MethodPost}
	timeouts := []api.ContainerExecHandlerOption{
		api.WithExecStreamIdleTimeout(streamIdleTimeout), api.WithExecStreamCreationTimeout(streamCreationTimeout),
	}
	r.HandleFunc("/containerLogs"+container, s.logs).Methods(http.MethodGet)
	r.HandleFunc("/exec"+container, s.running(api.HandleContainerExec(s.exec, timeouts...))).Methods(stream...)
	r.HandleFunc("/attach"+container, s.running(api.HandleContainerAttach(s.attach, timeouts...))).Methods(stream...)
	r.HandleFunc("/portForward/{namespace}/{pod}", s.running(api.HandlePortForward(s.portForward,
		api.WithPortForwardStreamIdleTimeout(streamIdleTimeout),
		api.WithPortForwardCreationTimeout(streamCreationTimeout)))).Methods(stream...)
	r.HandleFunc("/run"+container, s.running(s.run)).Methods(http.MethodPost)
	r.HandleFunc("/pods", api.HandleRunningPods(s.cfg.Pods)).Methods(http.MethodGet)
	r.HandleFunc("/healthz", s.healthz).Methods(http.MethodGet)
	r.HandleFunc("/configz", s.configz).Methods(http.MethodGet)
	if s.cfg.Usage != nil {
		r.HandleFunc("/metrics/resource", api.HandlePodMetricsResource(s.cfg.Usage.Resource)).Methods(http.MethodGet)
		r.HandleFunc("/stats/summary", api.HandlePodStatsSummary(s.cfg.Usage.Summary)).Methods(http.MethodGet)
	}
	r.Handle("/metrics", promhttp.HandlerFor(s.cfg.Metrics, promhttp.HandlerOpts{})).Methods(http.MethodGet)
	return r
}

func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	if s.cfg.Healthy != nil {
		if err := s.cfg.Healthy(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	_, _ = io.WriteString(w, "ok") // the client is gone: nobody is left to answer
}

func (s *Server) configz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"vic": s.cfg.Settings}) // as above
}
