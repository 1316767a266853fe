package toolbox

import (
	"encoding/binary"
	"net"
	"net/netip"
)

// maxInterfaces is how many the hypervisor takes (open-vm-tools: nicinfo.x, NICINFO_MAX_NICS).
const maxInterfaces = 16

// SystemInterfaces are those of the running system that have addresses, the loopback left out.
func SystemInterfaces() ([]Interface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var found []Interface
	for _, i := range all {
		if i.Flags&net.FlagLoopback != 0 || len(i.HardwareAddr) == 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			return nil, err
		}
		n := Interface{MAC: i.HardwareAddr.String()}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				n.Addresses = append(n.Addresses, p)
			}
		}
		if len(n.Addresses) > 0 {
			found = append(found, n)
		}
	}
	return found, nil
}

// nicInfo is GuestNicInfo of version 3 in XDR (open-vm-tools: nicinfo.x; RFC 4506), with nothing in it that may be left out.
func nicInfo(interfaces []Interface) []byte {
	interfaces = interfaces[:min(len(interfaces), maxInterfaces)]
	x := xdr{}
	x.number(3)
	x.number(1) // there is a NicInfoV3
	x.number(len(interfaces))
	for _, i := range interfaces {
		x.opaque([]byte(i.MAC))
		x.number(len(i.Addresses))
		for _, a := range i.Addresses {
			x.address(a)
		}
		x.none(4) // DNS, WINS, DHCP of IPv4 and of IPv6
	}
	x.number(0) // routes
	x.none(4)   // the same for all interfaces
	return x
}

// xdr is what RFC 4506 makes of values.
type xdr []byte

func (x *xdr) number(n int) { *x = binary.BigEndian.AppendUint32(*x, uint32(n)) }

func (x *xdr) opaque(b []byte) {
	x.number(len(b))
	*x = append(*x, b...)
	*x = append(*x, make([]byte, -len(b)&3)...)
}

// none leaves out so many optional values.
func (x *xdr) none(n int) {
	for range n {
		x.number(0)
	}
}

// address is an IpAddressEntry.
func (x *xdr) address(a netip.Prefix) {
	const v4, v6, preferred = 1, 2, 1
	if a.Addr().Is4() {
		x.number(v4)
	} else {
		x.number(v6)
	}
	x.opaque(a.Addr().AsSlice())
	x.number(a.Bits())
	x.none(1) // where it comes from
	x.number(1)
	x.number(preferred)
}
