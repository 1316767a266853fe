package vcenter

import (
	"context"
	"fmt"
	"os"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/qemu/network"
)

// Network is what VMs' interfaces join. It is safe for concurrent use.
type Network interface {
	// Attach makes the host's side of an interface of a VM that is powered on. The key is unique and stays the same for the
	// VM's life. Of an interface that no pod VM's spec has, only the MAC address is known.
	Attach(ctx context.Context, key string, nic portlayer.NIC) (Netdev, error)
}

// Netdev is the host's side of an interface.
type Netdev struct {
	// Options are those of QEMU's -netdev without id and descriptor, such as "tap,vhost=off".
	Options string
	// File is QEMU's descriptor, if it needs one. The caller closes it.
	File *os.File
	// Release is called when QEMU has ended. It may be nil.
	Release func()
}

// UserNetwork gives each interface a private network that reaches out, and that nobody reaches. It needs no privilege. The
// gateway of the pod's spec is this machine's loopback interface.
type UserNetwork struct{}

// Attach implements Network.
func (UserNetwork) Attach(_ context.Context, _ string, nic portlayer.NIC) (Netdev, error) {
	options := "user,ipv6=off"
	if address, gateway := nic.IPv4(); address.IsValid() && gateway.IsValid() {
		options += fmt.Sprintf(",net=%s,host=%s", address.Masked(), gateway)
	}
	return Netdev{Options: options}, nil
}

// Taps joins interfaces to a network of this machine, so that pods reach each other, the machine reaches them, and a
// connection comes from its pod's address. Interfaces that no pod VM's spec has are refused: their address is not known.
type Taps struct{ Network *network.Network }

// Attach implements Network.
func (t Taps) Attach(ctx context.Context, key string, nic portlayer.NIC) (Netdev, error) {
	address, _ := nic.IPv4()
	port := network.Port{Key: key, MAC: nic.MAC, Address: address.Addr()}
	tap, err := t.Network.Attach(ctx, port)
	if err != nil {
		return Netdev{}, err
	}
	return Netdev{Options: "tap,vhost=off", File: tap, Release: func() {
		// What is left of it harms nobody, and goes with the network.
		_ = t.Network.Detach(context.WithoutCancel(ctx), port)
	}}, nil
}
