package network

import (
	"context"
	"net/netip"
	"os"
)

// Network is a switch with a gateway.
type Network struct{}

// Port is one interface of one VM on the switch.
type Port struct {
	// Key names the port; it is unique in the VCH and the same for the VM's life.
	Key     string
	MAC     string
	Address netip.Addr
}

func (n *Network) Attach(ctx context.Context, p Port) (*os.File, error) { return nil, nil }
func (n *Network) Detach(ctx context.Context, key string) error         { return nil }
func (n *Network) Sync(ctx context.Context, ports []Port) error         { return nil }
