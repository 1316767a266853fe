package vcenter

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/internal/durable"
	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/vcsim"
	"github.com/virtual-kubelet/vic/portlayer/qemu"
	"github.com/virtual-kubelet/vic/portlayer/qemu/cgroup"
	"github.com/virtual-kubelet/vic/portlayer/vsphere"
)

const (
	// PortGroup is the inventory path of the one network for VMs.
	PortGroup = "/DC0/network/DC0_DVPG0"
	// BootISO is the datastore path of the ISO that Config names.
	BootISO = "[" + datastore + "] " + isoName

	user      = "user"
	datastore = "LocalDS_0"
	isoName   = "boot.iso"
)

// Config says how VMs run.
type Config struct {
	// Dir gets the datastore and the files of Target. It is made where there is none.
	Dir string
	// Accel is AccelKVM or AccelTCG; qemu.ProbeAccel says which works. Empty is AccelTCG.
	Accel qemu.Accel
	// Network is what interfaces join. Nil is UserNetwork.
	Network Network
	// BootISO is a file that is put into the datastore; empty is none.
	BootISO string
	// Binary is QEMU's name or path; empty for qemu-system-x86_64. Image is qemu-img's.
	Binary, Image string
}

func (c Config) complete() (Config, error) {
	if c.Dir == "" {
		return c, errors.New("no directory")
	}
	switch c.Accel {
	case "":
		c.Accel = qemu.AccelTCG
	case qemu.AccelKVM, qemu.AccelTCG:
	default:
		return c, fmt.Errorf("accelerator %q is not one of kvm, tcg", c.Accel)
	}
	if c.Network == nil {
		c.Network = UserNetwork{}
	}
	var err error
	if c.Binary, err = find(c.Binary, "qemu-system-x86_64", "qemu-system-x86"); err != nil {
		return c, err
	}
	c.Image, err = find(c.Image, "qemu-img", "qemu-utils")
	if err != nil {
		return c, err
	}
	c.Dir, err = filepath.Abs(c.Dir)
	return c, err
}

// find returns the path of a program, which is standard unless it is named.
func find(name, standard, debian string) (string, error) {
	if name == "" {
		name = standard
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("find %s (Debian package %s): %w", name, debian, err)
	}
	return path, nil
}

// Server is a simulated vCenter with one datacenter, one cluster, one datastore and one network for VMs. It is safe for
// concurrent use.
type Server struct {
	config  Config
	log     *slog.Logger
	model   *simulator.Model
	volumes *vcsim.Disks
	server  *simulator.Server
	target  vsphere.Target
	host    capacity
	leases  leases
	watches sync.WaitGroup // of QEMUs, until their end is reported

	mu      sync.Mutex // guards what follows
	closed  bool
	running map[types.ManagedObjectReference]*process
	// consoles are those of VMs that run or ran, by instance UUID.
	consoles map[string]*tail
	// sessions are the registries of all that ever logged in.
	sessions map[*simulator.Registry]bool
}

// Start starts a vCenter. The caller calls Close, after its sessions with it are closed. ctx carries the logger for what
// happens until then.
func Start(ctx context.Context, c Config) (*Server, error) {
	c, err := c.complete()
	if err != nil {
		return nil, fmt.Errorf("start simulated vCenter: %w", err)
	}
	v := &Server{
		config: c, log: logging.From(ctx), model: newModel(),
		running:  map[types.ManagedObjectReference]*process{},
		consoles: map[string]*tail{},
		sessions: map[*simulator.Registry]bool{},
	}
	if err := v.start(); err != nil {
		v.Close() //nolint:contextcheck // what was begun is undone, also when ctx has ended
		return nil, fmt.Errorf("start simulated vCenter: %w", err)
	}
	return v, nil
}

func (v *Server) start() error {
	cgroup.Sweep(v.config.Dir) // of VMs that ended with a vCenter which was killed
	if err := v.model.Create(); err != nil {
		return err
	}
	if err := v.furnish(); err != nil {
		return err
	}
	service := v.model.Service
	service.TLS = new(tls.Config)
	service.Listen = &url.URL{User: url.UserPassword(user, rand.Text())}
	service.ServeMux = http.NewServeMux()
	// These come before the simulator's own, which forget what they are sent.
	service.ServeMux.HandleFunc("PUT "+uploadPath, v.upload)
	service.ServeMux.HandleFunc("POST "+uploadPath, v.upload)
	registry := v.model.Map()
	registry.Handler = v.intercept
	registry.AddHandler(observer{v})
	v.volumes = vcsim.AddDisks(registry)
	v.addPermissions(registry)
	v.server = service.NewServer()
	if err := v.addISO(); err != nil {
		return fmt.Errorf("put the boot ISO into the datastore: %w", err)
	}
	return v.writeTarget(v.server.URL)
}

func (v *Server) addISO() error {
	if v.config.BootISO == "" {
		return nil
	}
	to, err := v.file(BootISO)
	if err != nil {
		return err
	}
	from, err := os.Open(v.config.BootISO)
	if err != nil {
		return err
	}
	defer from.Close()
	return durable.Replace(to, 0o600, func(f *os.File) error { _, err := io.Copy(f, from); return err })
}

// Console returns the end of what the VM with that instance UUID has written to its serial port since it was last powered
// on; nothing when it never was.
func (v *Server) Console(instanceUUID string) []byte {
	v.mu.Lock()
	console := v.consoles[instanceUUID]
	v.mu.Unlock()
	if console == nil {
		return nil
	}
	return console.bytes()
}

// Close ends all VMs and the vCenter, and removes their files.
func (v *Server) Close() {
	v.mu.Lock()
	v.closed = true
	var all []*process
	for ref, p := range v.running {
		all = append(all, p)
		delete(v.running, ref)
	}
	v.mu.Unlock()
	for _, p := range all {
		p.stop()
	}
	v.watches.Wait()
	if v.server != nil {
		v.server.CloseClientConnections()
		v.cancelPolls()
		v.server.Close()
	}
	if v.model.Service != nil {
		v.model.Remove()
	}
	_ = os.Remove(TargetFile(v.config.Dir)) // nobody answers there
	if err := os.RemoveAll(v.datastoreDir()); err != nil {
		v.log.Warn("datastore of simulated vCenter left behind", "err", err)
	}
}

// cancelPolls ends what clients wait for that have not been closed: the server waits for it.
func (v *Server) cancelPolls() {
	v.mu.Lock()
	sessions := slices.Collect(maps.Keys(v.sessions))
	v.mu.Unlock()
	for _, s := range sessions {
		for _, o := range s.AllReference("PropertyCollector") {
			if pc, ok := o.(*simulator.PropertyCollector); ok {
				pc.CancelWaitForUpdates(&types.CancelWaitForUpdates{This: pc.Self})
			}
		}
	}
}

// newContext is what holds the simulator's locks for something that no client has asked for.
func (v *Server) newContext() *simulator.Context {
	ctx := *v.model.Service.Context
	return &ctx
}
