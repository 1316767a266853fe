package vspherevch

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/node"
	"github.com/virtual-kubelet/vic/node/statedir"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
	"github.com/virtual-kubelet/vic/portlayer/vsphere"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/channels"
)

const (
	// podScope is the scope that pods of a VCH on vSphere join.
	podScope = "pods"
	// authorityFile is in the node's directory. Anybody who can read it can take the place of this host and of its guests.
	authorityFile = "guests.pem"
	// logOutTimeout bounds the farewell to vSphere.
	logOutTimeout = 10 * time.Second
	// probeTimeout bounds the look at what a changed VCH would be.
	probeTimeout = time.Minute
)

// VSphere opens the VCHs of a process on vSphere. It implements node.Hypervisor and node.Guests.
type VSphere struct {
	// refusals are of all VCHs: several may have one account.
	refusals vsphere.Refusals
	guests   *guestListener // of the process, from Listen on
}

var (
	_ node.Hypervisor = (*VSphere)(nil)
	_ node.Guests     = (*VSphere)(nil)
)

// New returns a VSphere without a place where guests dial in.
func New() *VSphere { return &VSphere{} }

// Check implements node.Hypervisor: any host will do.
func (s *VSphere) Check() error { return nil }

// Purge implements node.Hypervisor: nothing runs on this host.
func (s *VSphere) Purge(context.Context, *statedir.Dir) error { return nil }

// Listen implements node.Guests.
func (s *VSphere) Listen(ctx context.Context, at node.GuestsAt) error {
	authority, err := loadAuthority(ctx, at)
	if err != nil {
		return err
	}
	s.guests, err = listenForGuests(ctx, at.Address, authority)
	if err != nil {
		return fmt.Errorf("guestListen: %w", err)
	}
	return nil
}

// Serve implements node.Guests.
func (s *VSphere) Serve(ctx context.Context) error { return s.guests.run(ctx) }

// Close implements node.Guests.
func (s *VSphere) Close() { s.guests.close() }

func loadAuthority(ctx context.Context, at node.GuestsAt) (*channels.Authority, error) {
	if at.Authority == nil {
		return channels.LoadAuthority(filepath.Join(at.State.Node(), authorityFile))
	}
	pem, err := at.Authority(ctx, channels.MakeAuthority)
	if err != nil {
		return nil, err
	}
	a, err := channels.ParseAuthority(pem)
	if err != nil {
		return nil, fmt.Errorf("authority of guests: %w", err)
	}
	return a, nil
}

// Probe implements node.Hypervisor.
func (s *VSphere) Probe(ctx context.Context, v *node.VCH) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	return s.WithSession(ctx, v, vsphere.Probe)
}

// WithSession logs in and calls do with the VCH, which has no guests.
func (s *VSphere) WithSession(ctx context.Context, v *node.VCH, do func(context.Context, vsphere.Config) error) error {
	session, err := vsphere.Connect(ctx, s.target(v))
	if err != nil {
		return err
	}
	defer logOut(ctx, session)
	return do(ctx, vchConfig(&v.Entry, session))
}

// Open implements node.Hypervisor. Guests dial in where those of all VCHs of the process do, or where this one says.
func (s *VSphere) Open(ctx context.Context, v *node.VCH, state *statedir.Dir) (*node.Host, error) {
	scope, err := scopeOf(&v.VCH)
	if err != nil {
		return nil, err
	}
	guests, stop := s.guests, func() {}
	var run func(context.Context) error
	if own := v.VSphere.GuestListen; own != "" {
		authority, err := loadAuthority(ctx, node.GuestsAt{State: state})
		if err != nil {
			return nil, err
		}
		if guests, err = listenForGuests(ctx, own, authority); err != nil {
			return nil, fmt.Errorf("vsphere.guestListen: %w", err)
		}
		run, stop = guests.run, guests.close
	}
	if guests == nil {
		return nil, errors.New("guestListen is missing")
	}
	h, closeAll, err := s.open(ctx, v, guests.At(v.VSphere.AdvertiseAddresses))
	if err != nil {
		stop()
		return nil, err
	}
	leave := guests.Admit(h)
	return &node.Host{
		Hypervisor: h, Scope: scope, InstanceType: "vic-vsphere", System: "vSphere", RunsOn: "vSphere at " + v.VSphere.Address, Network: "bridge",
		Capabilities: podvm.Capabilities{Hypervisor: "vsphere", PodNetwork: true, HotAddDisk: true, Volumes: vsphere.VolumeDriver},
		Run:          run,
		Close:        func() { stop(); leave(); closeAll() },
	}, nil
}

// open logs in and finds the VCH. The function it returns lets go of it.
func (s *VSphere) open(ctx context.Context, v *node.VCH, guests vsphere.GuestChannels) (*vsphere.Hypervisor, func(), error) {
	session, err := vsphere.Connect(ctx, s.target(v))
	if err != nil {
		return nil, nil, err
	}
	cfg := vchConfig(&v.Entry, session)
	cfg.Guests = guests
	h, err := vsphere.Open(ctx, cfg)
	if err != nil {
		logOut(ctx, session)
		return nil, nil, err
	}
	logging.From(ctx).InfoContext(ctx, "VCH opened", "address", v.VSphere.Address)
	return h, func() { h.Close(); logOut(ctx, session) }, nil
}

func logOut(ctx context.Context, session *vsphere.Session) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), logOutTimeout)
	defer cancel()
	session.Close(ctx)
}

func (s *VSphere) target(v *node.VCH) vsphere.Target {
	at := v.VSphere
	t := vsphere.Target{
		Address: at.Address, User: at.User, PasswordFile: at.PasswordFile, CAFile: at.CAFile, Thumbprint: at.Thumbprint, Insecure: at.Insecure,
		Refusals: &s.refusals,
	}
	if c := v.Credentials; c != nil {
		t.User, t.Password, t.CA = c.Username, c.Password, c.CA
	}
	return t
}

// vchConfig is what the port layer makes a VCH of, without guests. All that settings say of a VCH on vSphere becomes it here.
func vchConfig(e *config.Entry, session *vsphere.Session) vsphere.Config {
	s := e.VSphere
	cfg := vsphere.Config{
		Name: e.Name, Session: session, Datacenter: s.Datacenter, Pool: s.Pool, Folder: s.Folder, Datastore: s.Datastore,
		Directory: s.Directory, Networks: map[string]string{podScope: s.Network}, BootISO: s.BootISO,
		StoragePolicy: s.StoragePolicy, ReserveMemory: s.MemoryReservation, AntiAffinity: s.AntiAffinity, MHzPerCore: s.MHzPerCore,
		MaxPods: e.Limits.Pods().Value(), CPUMilli: e.Limits.Cpu().MilliValue(), MemoryBytes: e.Limits.Memory().Value(),
	}
	if s.Tags != nil {
		cfg.TagCategory = s.Tags.Category
	}
	return cfg
}

// Addresses are the lowest and the highest address that pods of a VCH may have.
func Addresses(v *config.VCH) (first, last netip.Addr, err error) {
	cfg, err := scopeOf(v)
	if err != nil {
		return first, last, err
	}
	scope, err := portlayer.NewScope(cfg)
	if err != nil {
		return first, last, err
	}
	first, last = scope.Range()
	return first, last, nil
}

// scopeOf is the port group with the addresses that pods may have in it.
func scopeOf(v *config.VCH) (portlayer.ScopeConfig, error) {
	s := v.VSphere
	scope := portlayer.ScopeConfig{Name: podScope, MTU: int(s.MTU), Hardware: vsphere.HardwareAddress}
	var err error
	if scope.Subnet, err = netip.ParsePrefix(v.Subnet); err != nil {
		return scope, fmt.Errorf("subnet: %w", err)
	}
	for _, a := range []struct {
		field, value string
		to           *netip.Addr
	}{{"gateway", s.Gateway, &scope.Gateway}, {"firstAddress", s.FirstAddress, &scope.First}, {"lastAddress", s.LastAddress, &scope.Last}} {
		if a.value == "" {
			continue
		}
		if *a.to, err = netip.ParseAddr(a.value); err != nil {
			return scope, fmt.Errorf("vsphere.%s: %w", a.field, err)
		}
	}
	for _, a := range s.AdvertiseAddresses {
		if to, err := netip.ParseAddrPort(a); err == nil { // or it is a name
			scope.Reserved = append(scope.Reserved, to.Addr())
		}
	}
	return scope, nil
}
