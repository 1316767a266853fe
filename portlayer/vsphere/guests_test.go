//go:build !race

package vsphere_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/portlayer/portlayertest/fakeguest"
)

// guests boots a fake guest in every VM that the simulator powers on, and hands out channels to them.
type guests struct {
	powerOff func(vm types.ManagedObjectReference)

	mu      sync.Mutex // guards what follows
	changed chan struct{}
	boots   map[string]*boot // by instance UUID
	// read are the boot blobs that VMs had when they were powered on last, by instance UUID.
	read map[string]string
}

func newGuests() *guests {
	return &guests{changed: make(chan struct{}), boots: map[string]*boot{}, read: map[string]string{}}
}

// Reference implements simulator.RegisterObject.
func (g *guests) Reference() types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "Guests", Value: "guests"}
}

// PutObject implements simulator.RegisterObject.
func (g *guests) PutObject(*simulator.Context, mo.Reference) {}

// UpdateObject implements simulator.RegisterObject.
func (g *guests) UpdateObject(_ *simulator.Context, obj mo.Reference, changes []types.PropertyChange) {
	vm, ok := obj.(*mo.VirtualMachine)
	if !ok {
		return
	}
	for _, c := range changes {
		if state, ok := c.Val.(types.VirtualMachinePowerState); ok && c.Name == "runtime.powerState" {
			g.set(vm.Self, vm.Config.InstanceUuid, state == types.VirtualMachinePowerStatePoweredOn)
			g.readBlob(vm)
		}
	}
}

// RemoveObject implements simulator.RegisterObject.
func (g *guests) RemoveObject(*simulator.Context, types.ManagedObjectReference) {}

func (g *guests) set(ref types.ManagedObjectReference, uuid string, on bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if was := g.boots[uuid]; was != nil {
		was.end()
		delete(g.boots, uuid)
	}
	if on {
		b := &boot{changed: make(chan struct{})}
		g.boots[uuid] = b
		guest := fakeguest.New(fakeguest.Config{PowerOff: func() { g.powerOff(ref) }, HasDisk: func(string) bool { return true }})
		// Ends with the boot.
		go func() { _ = guest.Serve(b) }()
	}
	close(g.changed)
	g.changed = make(chan struct{})
}

func (g *guests) readBlob(vm *mo.VirtualMachine) {
	for _, o := range vm.Config.ExtraConfig {
		if v := o.GetOptionValue(); v.Key == wire.BootGuestInfo {
			g.mu.Lock()
			g.read[vm.Config.InstanceUuid], _ = v.Value.(string)
			g.mu.Unlock()
		}
	}
}

// blob is what the guest of a VM has read.
func (g *guests) blob(uuid string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.read[uuid]
}

// Dial implements vsphere.GuestChannels.
func (g *guests) Dial(ctx context.Context, uuid string) (io.ReadWriteCloser, error) {
	for {
		g.mu.Lock()
		b, changed := g.boots[uuid], g.changed
		g.mu.Unlock()
		if b != nil {
			host, guest := net.Pipe()
			b.connect(guest)
			return host, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Boot implements vsphere.GuestChannels.
func (g *guests) Boot(vm string) wire.Boot {
	return wire.Boot{Version: wire.BootVersion, VM: vm, Hosts: []string{"192.0.2.1:7443"}, CA: "certificates"}
}

// Forget implements vsphere.GuestChannels.
func (g *guests) Forget(string) {}

// boot is the guest's end of its channel: one connection after the other.
type boot struct {
	mu      sync.Mutex // guards what follows
	conn    net.Conn
	over    bool
	changed chan struct{}
}

func (b *boot) connect(conn net.Conn) { b.replace(conn, false) }

func (b *boot) end() { b.replace(nil, true) }

func (b *boot) replace(conn net.Conn, over bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn != nil {
		_ = b.conn.Close() // a pipe's never fails
	}
	b.conn, b.over = conn, over
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *boot) now() (net.Conn, bool, chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.conn, b.over, b.changed
}

func (b *boot) Read(p []byte) (int, error) {
	for {
		conn, over, changed := b.now()
		if over {
			return 0, io.EOF
		}
		if conn != nil {
			n, err := conn.Read(p)
			if err == nil {
				return n, nil
			}
		}
		if again, over, _ := b.now(); again != conn || over {
			continue
		}
		<-changed
	}
}

func (b *boot) Write(p []byte) (int, error) {
	conn, over, _ := b.now()
	switch {
	case over:
		return 0, io.ErrClosedPipe
	case conn == nil:
		return len(p), nil
	}
	if _, err := conn.Write(p); err != nil && !errors.Is(err, io.ErrClosedPipe) {
		return 0, err
	}
	return len(p), nil
}
