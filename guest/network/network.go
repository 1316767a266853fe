package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// Errors that a host acts on.
var (
	// ErrAddressInUse says that another host answers for an address.
	ErrAddressInUse = errors.New("address is in use")
	// ErrNoInterface says that no interface with a hardware address appeared in time.
	ErrNoInterface = errors.New("no such network interface")
)

const (
	interfaceTimeout = 30 * time.Second
	pollInterval     = 5 * time.Millisecond
)

// sysctls are what container runtimes set for a pod's network: ports and pings need no privilege in it.
var sysctls = map[string]string{
	"/proc/sys/net/ipv4/ip_unprivileged_port_start": "0",
	"/proc/sys/net/ipv4/ping_group_range":           "0 2147483647",
}

// Loopback brings the loopback interface up.
func Loopback() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find loopback: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("bring loopback up: %w", err)
	}
	for path, value := range sysctls {
		if err := os.WriteFile(path, []byte(value), 0); err != nil {
			return fmt.Errorf("set %s: %w", path, err)
		}
	}
	return nil
}

// Configure gives the interface with i's hardware address its addresses and its gateways.
func Configure(ctx context.Context, i wire.Interface) error {
	mac, err := net.ParseMAC(i.MAC)
	if err != nil {
		return fmt.Errorf("configure interface: %w", err)
	}
	if err := configure(ctx, mac, i); err != nil {
		return fmt.Errorf("configure interface %s: %w", i.MAC, err)
	}
	return nil
}

func configure(ctx context.Context, mac net.HardwareAddr, i wire.Interface) error {
	link, err := find(ctx, mac)
	if err != nil {
		return err
	}
	if i.MTU > 0 {
		if err := netlink.LinkSetMTU(link, i.MTU); err != nil {
			return fmt.Errorf("set MTU %d: %w", i.MTU, err)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("bring up: %w", err)
	}
	for _, a := range i.Addresses {
		if err := addAddress(ctx, link, mac, a); err != nil {
			return err
		}
	}
	for _, gw := range i.Gateways {
		if err := addRoute(link, gw, i.Addresses); err != nil {
			return err
		}
	}
	return nil
}

func addAddress(ctx context.Context, link netlink.Link, mac net.HardwareAddr, a netip.Prefix) error {
	address := &netlink.Addr{IPNet: ipNet(a)}
	if a.Addr().Is4() {
		if err := probe(ctx, link.Attrs().Index, mac, a.Addr()); err != nil {
			return err
		}
	} else {
		address.Flags = unix.IFA_F_NODAD // the kernel's own would hold the address back for a second
	}
	if err := netlink.AddrReplace(link, address); err != nil {
		return fmt.Errorf("add address %s: %w", a, err)
	}
	return nil
}

// addRoute makes gw the default route of its family. A router outside of the networks of the addresses is on the link all the
// same.
func addRoute(link netlink.Link, gw netip.Addr, addresses []netip.Prefix) error {
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Gw: gw.AsSlice()}
	if !slices.ContainsFunc(addresses, func(a netip.Prefix) bool { return a.Contains(gw) }) {
		route.Flags = int(netlink.FLAG_ONLINK)
	}
	if err := netlink.RouteReplace(route); err != nil {
		return fmt.Errorf("add route by %s: %w", gw, err)
	}
	return nil
}

// find waits for an interface: it may be added to a running VM.
func find(ctx context.Context, mac net.HardwareAddr) (netlink.Link, error) {
	ctx, cancel := context.WithTimeout(ctx, interfaceTimeout)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		links, err := netlink.LinkList()
		if err != nil {
			return nil, fmt.Errorf("list interfaces: %w", err)
		}
		for _, l := range links {
			if strings.EqualFold(l.Attrs().HardwareAddr.String(), mac.String()) {
				return l, nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrNoInterface, ctx.Err())
		}
	}
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
