package network

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// makeSwitch makes the namespace with its bridge and its end of the veth, as far as they are missing.
func (n *Network) makeSwitch(ctx context.Context) error {
	if err := makeNamespace(n.names.namespace); err != nil {
		return err
	}
	if err := n.makePair(); err != nil {
		return fmt.Errorf("make link %s: %w", n.names.host, err)
	}
	err := withLinks(n.names.namespace, func(links *netlink.Handle) error {
		bridge, err := ensureBridge(links)
		if err != nil {
			return err
		}
		uplink, err := links.LinkByName(uplinkName)
		if err != nil {
			return err
		}
		return errors.Join(links.LinkSetMTU(uplink, n.mtu), links.LinkSetMaster(uplink, bridge), links.LinkSetUp(uplink),
			links.LinkSetUp(bridge))
	})
	if err != nil {
		return fmt.Errorf("make switch: %w", err)
	}
	// A table that is there keeps the ports of VMs that run; Sync replaces it once it is known which do.
	if err := nftIn(ctx, n.names.namespace, switchRules(nil, keepPorts)); err != nil {
		return fmt.Errorf("set the switch's rules: %w", err)
	}
	return nil
}

func ensureBridge(links *netlink.Handle) (netlink.Link, error) {
	bridge, err := links.LinkByName(bridgeName)
	if err == nil || !isMissing(err) {
		return bridge, err
	}
	snooping := false // the switch has no querier, and snooping would then eat multicasts
	err = links.LinkAdd(&netlink.Bridge{
		LinkAttrs: netlink.LinkAttrs{Name: bridgeName}, MulticastSnooping: &snooping,
	})
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, err
	}
	return links.LinkByName(bridgeName)
}

// makePair makes both ends of the veth. One whose other end is not in the namespace is of a namespace that is gone.
func (n *Network) makePair() error {
	whole := false
	err := withLinks(n.names.namespace, func(links *netlink.Handle) error {
		_, err := links.LinkByName(uplinkName)
		whole = err == nil
		if isMissing(err) {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	if _, err := netlink.LinkByName(n.names.host); err == nil && whole {
		return nil
	}
	if err := dropLink(n.names.host); err != nil {
		return err
	}
	ns, err := netns.GetFromName(n.names.namespace)
	if err != nil {
		return err
	}
	defer ns.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.HardwareAddr = n.names.host, n.mtu, hardwareAddr(n.names.host)
	return netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: uplinkName, PeerNamespace: netlink.NsFd(ns)})
}

// makeGateway gives the machine's end of the veth the gateway's address, and no other.
func (n *Network) makeGateway() error {
	link, err := netlink.LinkByName(n.names.host)
	if err != nil {
		return fmt.Errorf("make gateway: %w", err)
	}
	want := netip.PrefixFrom(n.gateway, n.subnet.Bits())
	addrs, err := netlink.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("make gateway: %w", err)
	}
	for _, a := range addrs {
		if p, ok := prefixOf(a.IPNet); !ok || p != want {
			if err := netlink.AddrDel(link, &a); err != nil {
				return fmt.Errorf("make gateway: drop address %s: %w", a.IPNet, err)
			}
		}
	}
	ip := &net.IPNet{IP: n.gateway.AsSlice(), Mask: net.CIDRMask(n.subnet.Bits(), 32)}
	err = errors.Join(silenceIPv6(n.names.host), netlink.AddrReplace(link, &netlink.Addr{IPNet: ip}),
		netlink.LinkSetMTU(link, n.mtu), netlink.LinkSetUp(link))
	if err != nil {
		return fmt.Errorf("make gateway %s: %w", want, err)
	}
	return nil
}

// hardwareAddr is a locally administered address that a name always gives.
func hardwareAddr(name string) net.HardwareAddr {
	sum := sha256.Sum256([]byte(name))
	return append(net.HardwareAddr{0x02}, sum[:5]...)
}

func isMissing(err error) bool {
	var missing netlink.LinkNotFoundError
	return errors.As(err, &missing)
}

func dropLink(name string) error {
	link, err := netlink.LinkByName(name)
	if isMissing(err) {
		return nil
	}
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove link %s: %w", name, err)
	}
	return nil
}
