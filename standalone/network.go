package standalone

import (
	"context"
	"net/netip"

	"github.com/virtual-kubelet/vic/node/qemuvch"
	"github.com/virtual-kubelet/vic/node/statedir"
	"github.com/virtual-kubelet/vic/portlayer/qemu/network"
)

// openNetwork opens the pods' network, with a way from the kubernetes Service's address to the API server, which listens on
// the gateway's. Without root there is none.
func openNetwork(ctx context.Context, state *statedir.Dir) (*network.Network, error) {
	n, err := qemuvch.OpenNetwork(ctx, qemuvch.NetworkConfig(state, netip.Prefix{}))
	if n == nil || err != nil {
		return nil, err
	}
	cfg := qemuvch.NetworkConfig(state, n.Subnet())
	cfg.Translate = []network.Translation{{
		From: netip.AddrPortFrom(netip.MustParseAddr(serviceAddress), 443),
		To:   netip.AddrPortFrom(n.Gateway(), podAPIPort),
	}}
	return network.Open(ctx, cfg)
}
