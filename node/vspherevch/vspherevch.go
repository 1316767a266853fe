package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/node/statedir"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
	"github.com/virtual-kubelet/vic/portlayer/vsphere"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/channels"
)

// podScope is the scope that pods of a VCH on vSphere join.
const podScope = "pods"

// authorityFile is in the node's directory: who has it can take the place of this host and of its guests.
const authorityFile = "guests.pem"

// refusals are of all VCHs: several may have one account.
var refusals vsphere.Refusals

// logOutTimeout bounds the farewell to vSphere.
const logOutTimeout = 10 * time.Second

// vsphereFile is the part of a node's configuration that says where on vSphere its pods run; docs/vsphere.md shows every key.
type vsphereFile struct {
	// VCH is the VCH's name; that of the node if it is empty.
	VCH          string `json:"vch"`
	Address      string `json:"address"`
	User         string `json:"user"`
	PasswordFile string `json:"passwordFile"`
	CAFile       string `json:"caFile"`
	Thumbprint   string `json:"thumbprint"`
	Insecure     bool   `json:"insecure"`

	Datacenter string `json:"datacenter"`
	Pool       string `json:"pool"`
	Folder     string `json:"folder"`
	Datastore  string `json:"datastore"`
	Directory  string `json:"directory"`
	BootISO    string `json:"bootISO"`

	StoragePolicy     string `json:"storagePolicy"`
	MemoryReservation bool   `json:"memoryReservation"`
	AntiAffinity      bool   `json:"antiAffinity"`
	MHzPerCore        int64  `json:"mhzPerCore"`
	// Tags are attached to VMs where it is there.
	Tags *tagsFile `json:"tags"`

	Network      string `json:"network"`
	Gateway      string `json:"gateway"`
	FirstAddress string `json:"firstAddress"`
	LastAddress  string `json:"lastAddress"`
	MTU          int    `json:"mtu"`

	// password is read instead of PasswordFile, and ca are certificates beside CAFile's: they come from the cluster.
	password func(context.Context) (string, error)
	ca       []byte

	// GuestListen is where guests dial in, and AdvertiseAddresses are what they dial: HOST:PORT, stable over restarts.
	GuestListen        string   `json:"guestListen"`
	AdvertiseAddresses []string `json:"advertiseAddresses"`
}

// tagsFile says in which category tags are.
type tagsFile struct {
	Category string `json:"category"`
}

// check refuses what can be seen to be wrong without asking anybody.
func (f *vsphereFile) check(subnet netip.Prefix, guests bool) error {
	for _, needed := range []struct{ key, value string }{
		{"address", f.Address},
		{"user", f.User},
		{"passwordFile", f.PasswordFile},
		{"bootISO", f.BootISO},
		{"network", f.Network},
	} {
		if needed.value == "" && (needed.key != "passwordFile" || f.password == nil) {
			return fmt.Errorf("vsphere.%s is missing", needed.key)
		}
	}
	if err := f.checkGuests(guests); err != nil {
		return err
	}
	trusts := 0
	for _, set := range []bool{f.CAFile != "", f.Thumbprint != "", f.Insecure} {
		if set {
			trusts++
		}
	}
	switch {
	case trusts > 1:
		return errors.New("vsphere: of caFile, thumbprint and insecure only one can be set")
	case !subnet.IsValid():
		return errors.New("subnet is missing: it is that of the port group vsphere.network")
	case f.MHzPerCore < 0:
		return errors.New("vsphere.mhzPerCore is less than nothing")
	case f.Tags != nil && f.Tags.Category == "":
		return errors.New("vsphere.tags.category is missing")
	}
	scope, err := f.scope(subnet)
	if err == nil {
		_, err = portlayer.NewScope(scope)
	}
	return err
}

// checkGuests refuses a place to dial in that is none. elsewhere tells that the process has one.
func (f *vsphereFile) checkGuests(elsewhere bool) error {
	if f.GuestListen == "" && !elsewhere {
		return errors.New("vsphere.guestListen is missing")
	}
	if f.GuestListen != "" {
		if _, _, err := net.SplitHostPort(f.GuestListen); err != nil {
			return fmt.Errorf("vsphere.guestListen: %w", err)
		}
	}
	if len(f.AdvertiseAddresses) == 0 {
		return errors.New("vsphere.advertiseAddresses is missing: guests dial them")
	}
	for _, a := range f.AdvertiseAddresses {
		if host, _, err := net.SplitHostPort(a); err != nil || host == "" {
			return fmt.Errorf("vsphere.advertiseAddresses: %q is no HOST:PORT", a)
		}
	}
	return nil
}

// scope is the port group with the addresses that pods may have in it.
func (f *vsphereFile) scope(subnet netip.Prefix) (portlayer.ScopeConfig, error) {
	s := portlayer.ScopeConfig{Name: podScope, Subnet: subnet, MTU: f.MTU, Hardware: vsphere.HardwareAddress}
	for _, a := range []struct {
		key, value string
		to         *netip.Addr
	}{{"gateway", f.Gateway, &s.Gateway}, {"firstAddress", f.FirstAddress, &s.First}, {"lastAddress", f.LastAddress, &s.Last}} {
		if a.value == "" {
			continue
		}
		var err error
		if *a.to, err = netip.ParseAddr(a.value); err != nil {
			return s, fmt.Errorf("vsphere.%s: %w", a.key, err)
		}
	}
	for _, a := range f.AdvertiseAddresses {
		if to, err := netip.ParseAddrPort(a); err == nil { // or it is a name
			s.Reserved = append(s.Reserved, to.Addr())
		}
	}
	return s, nil
}

func (f *vsphereFile) target() vsphere.Target {
	return vsphere.Target{
		Address: f.Address, User: f.User, PasswordFile: f.PasswordFile, CAFile: f.CAFile, Thumbprint: f.Thumbprint, Insecure: f.Insecure,
		Password: f.password, CA: f.ca, Refusals: &refusals,
	}
}

// open opens the VCH. Its guests dial in where those of all VCHs of the process do, or where this one says.
func (f *vsphereFile) open(ctx context.Context, flags nodeFlags, state *statedir.Dir, subnet netip.Prefix, guests *guestListener) (*vch, error) {
	scope, err := f.scope(subnet)
	if err != nil {
		return nil, err
	}
	var run func(context.Context) error
	stop := func() {}
	if f.GuestListen == "" && guests == nil {
		return nil, errors.New("guestListen is missing")
	}
	if f.GuestListen != "" {
		authority, err := channels.LoadAuthority(filepath.Join(state.Node(), authorityFile))
		if err != nil {
			return nil, err
		}
		if guests, err = listenForGuests(ctx, "vsphere.guestListen", f.GuestListen, authority); err != nil {
			return nil, err
		}
		run, stop = guests.run, guests.close
	}
	h, closeAll, err := f.openHypervisor(ctx, flags, guests.At(f.AdvertiseAddresses))
	if err != nil {
		stop()
		return nil, err
	}
	leave := guests.Admit(h)
	return &vch{
		hypervisor: h, scope: scope, instanceType: "vic-vsphere", system: "vSphere", runsOn: "vSphere at " + f.Address, network: "bridge",
		capabilities: podvm.Capabilities{Hypervisor: "vsphere", PodNetwork: true, HotAddDisk: true, Volumes: vsphere.VolumeDriver},
		run:          run,
		close:        func() { stop(); leave(); closeAll() },
	}, nil
}

// claims are what no other VCH may have too, each in words that name it.
func (f *vsphereFile) claims(node string) []string {
	name := cmp.Or(f.VCH, node)
	return []string{
		fmt.Sprintf("vsphere.vch %s at %s", name, f.Address),
		fmt.Sprintf("vsphere.directory %s of datastore %q at %s", cmp.Or(f.Directory, vsphere.DefaultDirectory(name)), f.Datastore, f.Address),
	}
}

// config is the VCH, without guests.
func (f *vsphereFile) config(node string, session *vsphere.Session) vsphere.Config {
	cfg := vsphere.Config{
		Name: cmp.Or(f.VCH, node), Session: session, Datacenter: f.Datacenter, Pool: f.Pool, Folder: f.Folder, Datastore: f.Datastore,
		Directory: f.Directory, Networks: map[string]string{podScope: f.Network}, BootISO: f.BootISO,
		StoragePolicy: f.StoragePolicy, ReserveMemory: f.MemoryReservation, AntiAffinity: f.AntiAffinity, MHzPerCore: f.MHzPerCore,
	}
	if f.Tags != nil {
		cfg.TagCategory = f.Tags.Category
	}
	return cfg
}

func (f *vsphereFile) logOut(ctx context.Context, session *vsphere.Session) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), logOutTimeout)
	defer cancel()
	session.Close(ctx)
}

// openHypervisor logs in and finds the VCH. The function it returns lets go of it.
func (f *vsphereFile) openHypervisor(ctx context.Context, flags nodeFlags, guests vsphere.GuestChannels) (*vsphere.Hypervisor, func(), error) {
	session, err := vsphere.Connect(ctx, f.target())
	if err != nil {
		return nil, nil, err
	}
	cfg := f.config(flags.name, session)
	cfg.MaxPods, cfg.Guests = flags.capacity.pods, guests
	cfg.CPUMilli, cfg.MemoryBytes = flags.capacity.cpu*1000, flags.capacity.memory.bytes
	h, err := vsphere.Open(ctx, cfg)
	if err != nil {
		f.logOut(ctx, session)
		return nil, nil, err
	}
	logging.From(ctx).InfoContext(ctx, "VCH opened", "address", f.Address)
	return h, func() { h.Close(); f.logOut(ctx, session) }, nil
}
