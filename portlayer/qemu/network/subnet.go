package network

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/virtual-kubelet/vic/internal/durable"
)

const (
	subnetFile = "subnet"
	defaultMTU = 1500
	// 10.128.0.0/9 in /24 is this many choices. It has no range in it that Kubernetes uses by default.
	subnetChoices = 1 << 15
)

// chooseSubnet returns the range that the configuration names, or the one that was chosen before, or a free one, which
// is kept: VMs that are off carry its addresses.
func chooseSubnet(cfg Config, own string) (netip.Prefix, error) {
	if cfg.Subnet.IsValid() {
		return checkSubnet(cfg.Subnet)
	}
	file := filepath.Join(cfg.Dir, subnetFile)
	b, err := os.ReadFile(file)
	if err == nil {
		if known, err := netip.ParsePrefix(strings.TrimSpace(string(b))); err == nil {
			return checkSubnet(known)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return netip.Prefix{}, err
	}
	taken, err := routedRanges(own)
	if err != nil {
		return netip.Prefix{}, err
	}
	subnet, err := freeSubnet(cfg.Dir, taken)
	if err != nil {
		return netip.Prefix{}, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return netip.Prefix{}, err
	}
	return subnet, durable.Write(file, []byte(subnet.String()+"\n"), 0o600)
}

func dropSubnet(dir string) error {
	if err := os.Remove(filepath.Join(dir, subnetFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func checkSubnet(p netip.Prefix) (netip.Prefix, error) {
	if !p.Addr().Is4() || p.Bits() < 16 || p.Bits() > 29 {
		return netip.Prefix{}, fmt.Errorf("subnet %s is not an IPv4 range of /16 to /29", p)
	}
	return p.Masked(), nil
}

// freeSubnet returns the first range, counted from a hash of dir, that none of taken overlaps.
func freeSubnet(dir string, taken []netip.Prefix) (netip.Prefix, error) {
	sum := sha256.Sum256([]byte(dir))
	start := int(sum[4])<<8 | int(sum[5])
	for i := range subnetChoices {
		n := (start + i) % subnetChoices
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(128 + n>>8), byte(n), 0}), 24)
		if !overlaps(p, taken) {
			return p, nil
		}
	}
	return netip.Prefix{}, errors.New("no free subnet in 10.128.0.0/9: name one")
}

func overlaps(p netip.Prefix, taken []netip.Prefix) bool {
	for _, t := range taken {
		if t.Overlaps(p) {
			return true
		}
	}
	return false
}

// routedRanges are what the machine routes, default routes and our own interface left out.
func routedRanges(own string) ([]netip.Prefix, error) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	ownIndex := 0
	if link, err := netlink.LinkByName(own); err == nil {
		ownIndex = link.Attrs().Index
	}
	var taken []netip.Prefix
	for _, r := range routes {
		if r.Dst == nil || (ownIndex != 0 && r.LinkIndex == ownIndex) {
			continue
		}
		if p, ok := prefixOf(r.Dst); ok && p.Bits() > 0 {
			taken = append(taken, p)
		}
	}
	return taken, nil
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	addr, ok := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(addr.Unmap(), bits), ok
}

// uplinkMTU is the MTU of the interface with the default route where that is smaller than usual, as in tunnels.
func uplinkMTU() int {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return defaultMTU
	}
	for _, r := range routes {
		if r.Dst != nil {
			if p, ok := prefixOf(r.Dst); !ok || p.Bits() > 0 {
				continue
			}
		}
		if link, err := netlink.LinkByIndex(r.LinkIndex); err == nil && link.Attrs().MTU >= 576 {
			return min(defaultMTU, link.Attrs().MTU)
		}
	}
	return defaultMTU
}
