package qemu

import (
	"net/netip"

	"github.com/virtual-kubelet/vic/portlayer"
)

// UserScope is the scope of VMs that have QEMU's user-mode network: each is alone in it, behind a gateway and a name
// server that QEMU itself is. The addresses are QEMU's defaults (QEMU documentation, "Network emulation").
func UserScope() portlayer.ScopeConfig {
	return portlayer.ScopeConfig{
		Name:     "user",
		Subnet:   netip.MustParsePrefix("10.0.2.0/24"),
		Gateway:  netip.MustParseAddr("10.0.2.2"),
		Reserved: []netip.Addr{netip.MustParseAddr("10.0.2.3")},
	}
}
