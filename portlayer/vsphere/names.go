package vsphere

import (
	"crypto/sha256"
	"net"
	"net/netip"
	"regexp"
	"strings"

	"github.com/virtual-kubelet/vic/portlayer"
)

// maxName is how long a VM's name may be (vSphere API reference, VirtualMachineConfigSpec.name).
const maxName = 80

var (
	badInName = regexp.MustCompile(`[^a-zA-Z0-9._-]+`)
	validUID  = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,127}$`)
)

// vmName is what people see: namespace if there is one, name and the beginning of the UID.
func vmName(id portlayer.Owner) string {
	short := id.UID[:min(8, len(id.UID))]
	name := badInName.ReplaceAllString(strings.TrimPrefix(id.Namespace+"-"+id.Name, "-"), "-")
	name = strings.TrimRight(name[:min(len(name), maxName-len(short)-1)], "-.")
	return name + "-" + short
}

// HardwareAddress is that of a pod's interface, in the range that VMware keeps for addresses which are given by hand:
// 00:50:56:00:00:00 to 00:50:56:3f:ff:ff (vSphere Networking, MAC Addresses).
func HardwareAddress(addr netip.Addr) net.HardwareAddr {
	b := addr.As16()
	low := b[13:]
	if !addr.Unmap().Is4() {
		sum := sha256.Sum256(b[:])
		low = sum[:3]
	}
	return net.HardwareAddr{0x00, 0x50, 0x56, low[0] & 0x3f, low[1], low[2]}
}
