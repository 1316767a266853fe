package node

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/controllers"
	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/tracing"
	"github.com/virtual-kubelet/vic/node/statedir"
	"github.com/virtual-kubelet/vic/provider"
	"github.com/virtual-kubelet/vic/provider/certs"
)

const (
	// apiTimeout bounds the first question to the API server.
	apiTimeout = 15 * time.Second
	// removeTimeout bounds the removal of what is left on a node.
	removeTimeout = 5 * time.Minute
)

// ServerConfig says what Serve serves, and by what.
type ServerConfig struct {
	// Settings have defaults and are checked.
	Settings *config.Node
	// Path is the file of Settings. Where it has a list of VCHs, it is read again when it changes.
	Path string
	API  *rest.Config

	Hypervisors Hypervisors
	Guests      Guests
}

// server opens the nodes of a process.
type server struct {
	ServerConfig
	address netip.Addr
	user    string        // who the API server takes us for
	state   *statedir.Dir // of the process
}

// Serve serves the nodes of a process until ctx ends. Pod VMs outlive it. What can be known to be wrong is found before
// anything is touched.
func Serve(ctx context.Context, cfg ServerConfig) (err error) {
	s := &server{ServerConfig: cfg}
	if err := s.check(ctx); err != nil {
		return err
	}
	settings := s.Settings
	var name string
	if settings.VCH != nil {
		name = settings.VCH.NodeName
	}
	endTraces, err := tracing.Send(ctx, tracing.Config{Endpoint: settings.TracingEndpoint, NodeName: name})
	if err != nil {
		return err
	}
	defer endTraces()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go certs.WatchClient(ctx, s.API) // ends with ctx
	if settings.Several() {
		return s.serveSeveral(ctx)
	}
	if s.state, err = statedir.Open(settings.Dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.state.Close()) }()
	return s.serveOne(ctx)
}

// serveOne serves the only node of a process. One that can't be opened ends the process.
func (s *server) serveOne(parent context.Context) error {
	group, ctx := errgroup.WithContext(parent)
	ready := newReadiness()
	if err := serveHealth(ctx, group, s.Settings.HealthListen, ready.check); err != nil {
		return err
	}
	group.Go(func() error { return s.runOne(ctx, group, ready) })
	err := group.Wait()
	if parent.Err() != nil && errors.Is(err, context.Canceled) {
		return nil // whoever ended it while it began does not want to hear what that broke
	}
	return err
}

// runOne opens and runs the only node, which makes the process ready.
func (s *server) runOne(ctx context.Context, group *errgroup.Group, ready *readiness) error {
	v, err := s.ofEntry(ctx, s.Settings.VCH)
	if err != nil {
		return err
	}
	closeGuests, err := s.listenForGuests(ctx, group, nil)
	if err != nil {
		return err
	}
	defer closeGuests() // after the node
	n, err := s.open(ctx, v, s.state)
	if err != nil {
		return err
	}
	defer n.Close(ctx)
	group.Go(func() error { // ends with ctx at the latest
		select {
		case <-n.Ready():
			ready.begin()
			notifyReady(ctx)
		case <-ctx.Done():
		}
		return nil
	})
	return n.Run(ctx)
}

// listenForGuests listens where the guests of VCHs dial in that have no place of their own, until what it returns is called.
func (s *server) listenForGuests(ctx context.Context, group *errgroup.Group, authority AuthorityKeeper) (stop func(), err error) {
	address := s.Settings.GuestListen
	if address == "" {
		return func() {}, nil
	}
	if err := s.Guests.Listen(ctx, GuestsAt{Address: address, State: s.state, Authority: authority}); err != nil {
		return nil, err
	}
	group.Go(func() error { return s.Guests.Serve(ctx) })
	return s.Guests.Close, nil
}

// notifyReady says to systemd that the process serves. Without systemd there is nobody to say it to, which is not an error.
func notifyReady(ctx context.Context) {
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		logging.From(ctx).WarnContext(ctx, "systemd not notified", "err", err)
	}
}

// open opens a node, whose state is in a directory of its own.
func (s *server) open(ctx context.Context, v *VCH, state *statedir.Dir) (*Node, error) {
	if v.Owner == "" { // of an object the API server refuses such changes
		if err := keepPlace(state, &v.Entry); err != nil {
			return nil, err
		}
	}
	return Open(ctx, Config{
		Settings: s.Settings, VCH: v, State: state, API: s.API, Address: s.address, PortSetting: v.FieldPath("port"),
		SelfSigned: !s.signs(&v.Entry),
		Open:       func(ctx context.Context) (*Host, error) { return s.Hypervisors.of(&v.VCH).Open(ctx, v, state) },
	})
}

// ofEntry implements nodes. A password in a Secret is read again before each login.
func (s *server) ofEntry(ctx context.Context, e *config.Entry) (*VCH, error) {
	v := &VCH{Entry: *e}
	if e.VSphere == nil || e.VSphere.CredentialsSecret == "" {
		return v, nil
	}
	c, err := client.New(s.API, client.Options{})
	if err != nil {
		return nil, fmt.Errorf("make API client: %w", err)
	}
	secrets := controllers.CredentialSecrets{Reader: c, Namespace: s.Settings.Namespace}
	credentials, err := secrets.Read(ctx, e.VSphere.CredentialsSecret)
	if err != nil {
		return nil, err
	}
	v.Credentials = &credentials
	return v, nil
}

// spec implements nodes.
func (s *server) spec(v *VCH) (Spec, error) {
	revision, err := v.revision()
	if err != nil {
		return Spec{}, err
	}
	return Spec{
		Revision: revision,
		Check:    func(ctx context.Context) error { return s.Hypervisors.of(&v.VCH).Probe(ctx, v) },
		Open: func(ctx context.Context) (Served, error) {
			state, err := statedir.Open(s.state.VCHOf(v.NodeName).Path)
			if err != nil {
				return nil, err
			}
			n, err := s.open(ctx, v, state)
			if err != nil {
				return nil, errors.Join(err, state.Close())
			}
			return &served{n, state}, nil
		},
	}, nil
}

// served is one of several nodes, with its state directory.
type served struct {
	*Node
	state *statedir.Dir
}

// Close implements Served.
func (n *served) Close(ctx context.Context) {
	n.Node.Close(ctx)
	if err := n.state.Close(); err != nil {
		logging.From(ctx).WarnContext(ctx, "state directory not unlocked", "err", err)
	}
}

// purge implements nodes.
func (s *server) purge(ctx context.Context, e *config.Entry) error {
	state := s.state.VCHOf(e.NodeName)
	if err := s.Hypervisors.of(&e.VCH).Purge(ctx, state); err != nil {
		return err
	}
	return state.Purge()
}

// check finds what is wrong without touching anything.
func (s *server) check(ctx context.Context) (err error) {
	if err := CheckFiles(s.Settings); err != nil {
		return err
	}
	if s.address, err = addressTowards(s.API); err != nil {
		return err
	}
	for _, e := range s.Settings.Entries() {
		if err := s.Hypervisors.of(&e.VCH).Check(); err != nil {
			return err
		}
	}
	return s.checkAPI(ctx)
}

// checkAPI asks the API server who we are, so that a wrong address or credential is known before anything is made.
func (s *server) checkAPI(ctx context.Context) error {
	clients, err := provider.NewClients(s.API, userAgent)
	if err != nil {
		return fmt.Errorf("--kubeconfig: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	if s.user, err = clients.Check(ctx); err != nil {
		return s.explainAPI(err)
	}
	if v := s.Settings.VCH; v != nil && !s.signs(v) {
		logging.From(ctx).WarnContext(ctx, "serving certificate will not be signed: the user is not system:node:NODE", "user", s.user, "node", v.NodeName)
	}
	return nil
}

// explainAPI says why the API server does not know us.
func (s *server) explainAPI(err error) error {
	if !apierrors.IsUnauthorized(err) {
		return fmt.Errorf("API server %s (--kubeconfig) does not answer: %w", s.API.Host, err)
	}
	why := ""
	if cert, read := certs.Client(s.API); read == nil && cert != nil && time.Now().After(cert.NotAfter) {
		why = fmt.Sprintf(", its client certificate of %s ended at %s", cert.Subject.CommonName, cert.NotAfter.UTC().Format(time.RFC3339))
	}
	return fmt.Errorf("API server %s refuses the credential of --kubeconfig%s: %w", s.API.Host, why, err)
}

// signs reports whether the cluster signs the serving certificate of a node: only what the node itself asks for.
func (s *server) signs(e *config.Entry) bool { return s.user == "system:node:"+e.NodeName }
