package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"

	"github.com/virtual-kubelet/vic/node/statedir"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
	"github.com/virtual-kubelet/vic/portlayer/qemu"
	"github.com/virtual-kubelet/vic/portlayer/qemu/network"
)

// openQEMU opens the VCH of this machine's QEMU. network is nil for user-mode networking.
func openQEMU(ctx context.Context, flags nodeFlags, state *statedir.Dir, image qemu.GuestImage, network *network.Network) (*vch, error) {
	accel, err := qemu.ParseAccel(flags.accel)
	if err != nil {
		return nil, misused("--accel: %w", err)
	}
	offered := flags.capacity
	h, err := qemu.Open(ctx, qemu.Config{
		Dir: state.VCH(), GuestImage: image, Accel: accel, Network: network,
		CPUMilli: offered.cpu * 1000, MemoryBytes: offered.memory.bytes, StorageBytes: offered.storage.bytes, Pods: offered.pods,
	})
	if err != nil {
		return nil, err
	}
	v := &vch{
		hypervisor: h, scope: qemu.UserScope(), instanceType: "vic-qemu", system: "QEMU", network: "user",
		runsOn:       fmt.Sprintf("QEMU (%s)", h.Accel()),
		capabilities: podvm.Capabilities{Hypervisor: "qemu", PodNetwork: network != nil, HotAddDisk: true},
		close:        h.Close,
	}
	if network != nil {
		v.scope, v.network = network.Scope(), "bridge"
	}
	return v, nil
}

// openNetwork opens the pods' network. Without root there is none, and QEMU's user mode takes its place.
func openNetwork(ctx context.Context, state *statedir.Dir, subnet netip.Prefix) (*network.Network, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	return network.Open(ctx, networkConfig(state, subnet))
}

func networkConfig(state *statedir.Dir, subnet netip.Prefix) network.Config {
	return network.Config{Dir: state.VCH(), Subnet: subnet, UplinkNAT: true}
}

// openNetworkWithAPI opens the network as openNetwork does, with a way from the kubernetes Service's address to the API
// server, which listens on the gateway's.
func openNetworkWithAPI(ctx context.Context, state *statedir.Dir) (*network.Network, error) {
	n, err := openNetwork(ctx, state, netip.Prefix{})
	if n == nil || err != nil {
		return nil, err
	}
	cfg := networkConfig(state, n.Subnet())
	cfg.Translate = []network.Translation{{
		From: netip.AddrPortFrom(netip.MustParseAddr(serviceAddress), 443),
		To:   netip.AddrPortFrom(n.Gateway(), podAPIPort),
	}}
	return network.Open(ctx, cfg)
}

func purgeNetwork(ctx context.Context, state *statedir.Dir) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return network.Purge(ctx, state.VCH())
}
