package vsphere

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/wait"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/internal/vcenter"
)

const (
	// loginTimeout is how long a login may take, for which others may wait.
	loginTimeout = 30 * time.Second
	// connectTimeout is how long vSphere may take to answer who connects.
	connectTimeout = 20 * time.Second
)

// Target says where vCenter or ESXi is and who we are there.
type Target struct {
	// Address is HOST, HOST:PORT or a URL without user and password.
	Address string
	User    string
	// PasswordFile is read before each login, so that a new password needs no restart.
	PasswordFile string
	// CAFile has the certificates to trust; empty trusts the system's. Thumbprint trusts one certificate instead: SHA-1 or
	// SHA-256, hex digits with colons.
	CAFile, Thumbprint string
	// Insecure trusts whoever answers.
	Insecure bool
	// Password is asked before each login where it is set, instead of PasswordFile; CA are certificates in PEM to trust,
	// instead of CAFile.
	Password func(context.Context) (string, error) `json:"-"`
	CA       []byte
	// AnswerWithin is how long vSphere may take until who connects has logged in; 0 is 20 s.
	AnswerWithin time.Duration
	// Refusals is shared by the sessions of a process; nil is the session's own.
	Refusals *Refusals `json:"-"`
}

// url is the address of the API.
func (t Target) url() (*url.URL, error) {
	if t.Address == "" {
		return nil, errors.New("no address of vCenter or ESXi")
	}
	u, err := soap.ParseURL(t.Address)
	if err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	if u.User != nil {
		if secret, _ := u.User.Password(); secret != "" {
			return nil, errors.New("address has a password in it; it belongs into a file")
		}
		u.User = nil
	}
	return u, nil
}

// password is what the file holds, without the end of its line.
func (t Target) password(ctx context.Context) (string, error) {
	if t.Password != nil {
		return t.Password(ctx)
	}
	b, err := os.ReadFile(t.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// Session is a client that logs in again when its session is lost, once however many calls found out. It is safe for
// concurrent use.
type Session struct {
	target Target
	client *vim25.Client
	manage *session.Manager

	loggingIn chan struct{} // has one place, which whoever logs in has
	logins    atomic.Int64

	watching sync.Mutex    // guards renewed
	renewed  chan struct{} // closed and replaced at each login
}

// Connect logs in. The caller calls Close. An error of the certificate has the thumbprint of the one that was shown.
func Connect(ctx context.Context, t Target) (*Session, error) {
	u, err := t.url()
	if err != nil {
		return nil, fmt.Errorf("connect to vSphere: %w", err)
	}
	within := cmp.Or(t.AnswerWithin, connectTimeout)
	bounded, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("no answer within %s", within))
	defer cancel()
	s, err := connect(bounded, t, u)
	switch {
	case err == nil:
		return s, nil
	case bounded.Err() != nil:
		err = context.Cause(bounded)
	default:
		err = withThumbprint(bounded, u.Host, err)
	}
	return nil, fmt.Errorf("connect to vSphere at %s: %w", u.Host, err)
}

// withThumbprint adds to the error of a certificate which one was shown, so that it can be compared with vSphere's own.
func withThumbprint(ctx context.Context, host string, err error) error {
	_, unverified := errors.AsType[*tls.CertificateVerificationError](err)
	if !unverified && !strings.Contains(err.Error(), "thumbprint does not match") { // govmomi has no type for it
		return err
	}
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // it only looks
	conn, dialErr := dialer.DialContext(ctx, "tcp", host)
	if dialErr != nil {
		return err // which says more
	}
	defer conn.Close()
	shown := conn.(*tls.Conn).ConnectionState().PeerCertificates
	if len(shown) == 0 {
		return err
	}
	return fmt.Errorf("%w; the certificate that was shown has the thumbprint %s", err, soap.ThumbprintSHA256(shown[0]))
}

func connect(ctx context.Context, t Target, u *url.URL) (*Session, error) {
	transport := soap.NewClient(u, t.Insecure)
	if t.CAFile != "" {
		if err := transport.SetRootCAs(t.CAFile); err != nil {
			return nil, fmt.Errorf("certificates of %s: %w", t.CAFile, err)
		}
	}
	if len(t.CA) > 0 {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(t.CA) {
			return nil, errors.New("certificates to trust: there is none in PEM")
		}
		transport.DefaultTransport().TLSClientConfig.RootCAs = pool
	}
	if t.Thumbprint != "" {
		transport.SetThumbprint(u.Host, t.Thumbprint)
	}
	client, err := vim25.NewClient(ctx, transport)
	if err != nil {
		return nil, err
	}
	if err := client.UseServiceVersion(); err != nil {
		return nil, err
	}
	if t.Refusals == nil {
		t.Refusals = &Refusals{}
	}
	s := &Session{target: t, client: client, loggingIn: make(chan struct{}, 1), renewed: make(chan struct{})}
	// The manager's own calls go past the round tripper that logs in again.
	plain := *client
	s.manage = session.NewManager(&plain)
	client.RoundTripper = &recovering{session: s, next: client.RoundTripper}
	return s, s.login(ctx, 0)
}

// Client makes calls in the session.
func (s *Session) Client() *vim25.Client { return s.client }

// login logs in, unless another call has since the one that found the session lost after so many logins.
func (s *Session) login(ctx context.Context, after int64) error {
	select {
	case s.loggingIn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("log in as %q: %w", s.target.User, context.Cause(ctx))
	}
	defer func() { <-s.loggingIn }()
	if s.logins.Load() != after {
		return nil
	}
	password, err := s.target.password(ctx)
	if err != nil {
		return err
	}
	if err := s.target.Refusals.remembers(s.target, password); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	if err := s.manage.Login(ctx, url.UserPassword(s.target.User, password)); err != nil {
		if !fault.Is(err, &types.InvalidLogin{}) {
			return fmt.Errorf("log in as %q: %w", s.target.User, err)
		}
		err = fmt.Errorf("log in as %q: %w: %w", s.target.User, ErrLoginRefused, err)
		s.target.Refusals.note(s.target, password, err)
		return err
	}
	s.logins.Add(1)
	s.watching.Lock()
	defer s.watching.Unlock()
	close(s.renewed)
	s.renewed = make(chan struct{})
	return nil
}

// errRenewed says that views and collectors went with the session that they were of.
var errRenewed = errors.New("the session was renewed")

// during calls watch with a context that also ends at the next login: a lost session does not wake who waits in it.
func (s *Session) during(ctx context.Context, watch func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.watching.Lock()
	renewed := s.renewed
	s.watching.Unlock()
	// Ends with ctx.
	go func() {
		select {
		case <-renewed:
			cancel(errRenewed)
		case <-ctx.Done():
		}
	}()
	err := watch(ctx)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// Close logs out.
func (s *Session) Close(ctx context.Context) {
	if err := s.manage.Logout(ctx); err != nil {
		logging.From(ctx).DebugContext(ctx, "session not ended", "err", err)
	}
}

// recovering logs in again and repeats a call that was refused for want of a session, and repeats reads that got lost.
type recovering struct {
	session *Session
	next    soap.RoundTripper
}

// RoundTrip implements soap.RoundTripper.
func (r *recovering) RoundTrip(ctx context.Context, req, res soap.HasFault) error {
	logins := r.session.logins.Load()
	err := r.next.RoundTrip(ctx, req, res)
	if reads(req) {
		for pause := range retryPauses {
			if !vcenter.Lost(err) || wait.For(ctx, pause) != nil {
				break
			}
			err = r.next.RoundTrip(ctx, req, res)
		}
	}
	if !unauthenticated(res, err) {
		return err
	}
	if err := r.session.login(ctx, logins); err != nil {
		return err
	}
	reflect.ValueOf(res).Elem().SetZero() // an answer that is not a fault leaves the former one in it
	return r.next.RoundTrip(ctx, req, res)
}

// unauthenticated reports whether a call failed for want of a session, or every property that it asked for is missing for it.
func unauthenticated(res soap.HasFault, err error) bool {
	if err != nil {
		return fault.Is(err, &types.NotAuthenticated{})
	}
	body, ok := res.(*methods.RetrievePropertiesExBody)
	if !ok || body.Res == nil || body.Res.Returnval == nil {
		return false
	}
	for _, o := range body.Res.Returnval.Objects {
		for _, m := range o.MissingSet {
			if _, ok := m.Fault.Fault.(*types.NotAuthenticated); ok {
				return true
			}
		}
	}
	return false
}

// reads reports whether a call changes nothing, so that it may be made twice.
func reads(req soap.HasFault) bool {
	switch req.(type) {
	case *methods.RetrievePropertiesExBody, *methods.RetrievePropertiesBody, *methods.FindByUuidBody,
		*methods.RetrieveServiceContentBody, *methods.CurrentTimeBody:
		return true
	}
	return false
}
