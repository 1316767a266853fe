package network

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	tunDevice = "/dev/net/tun"
	tapPrefix = "t"
)

// Port is one interface of one VM on the switch.
type Port struct {
	// Key names the port; it is unique in the VCH and the same for the VM's life.
	Key     string
	MAC     string
	Address netip.Addr
}

// link is the name of the port's tap.
func (p Port) link() string {
	sum := sha256.Sum256([]byte(p.Key))
	return tapPrefix + hex.EncodeToString(sum[:6])
}

// entry is what the switch's rules have of the port.
func (p Port) entry() entry { return entry{p.link(), p.MAC, p.Address} }

// check keeps what goes into rules to what rules can hold.
func (p Port) check() error {
	mac, err := net.ParseMAC(p.MAC)
	if err != nil || len(mac) != 6 || mac[0]&1 != 0 {
		return fmt.Errorf("port %s: %q is not a MAC address of one station", p.Key, p.MAC)
	}
	if !p.Address.Is4() {
		return fmt.Errorf("port %s: %s is not an IPv4 address", p.Key, p.Address)
	}
	return nil
}

// Attach makes a port and returns its tap. The processes that have it open are what is plugged in; the tap ends with
// the last of them. Another tap of the same port is pulled out.
func (n *Network) Attach(ctx context.Context, p Port) (*os.File, error) {
	tap, err := n.attach(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("attach port %s to network %s: %w", p.Key, n.names.namespace, err)
	}
	return tap, nil
}

func (n *Network) attach(ctx context.Context, p Port) (*os.File, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	if !n.subnet.Contains(p.Address) || p.Address == n.gateway {
		return nil, fmt.Errorf("%s is not a pod's address in %s", p.Address, n.subnet)
	}
	var tap *os.File
	err := inNamespace(n.names.namespace, func() error {
		if err := dropLink(p.link()); err != nil {
			return err
		}
		var err error
		if tap, err = openTap(p.link()); err != nil {
			return err
		}
		return errors.Join(nft(ctx, p.entry().rules("add")), plug(p.link(), n.mtu))
	})
	if err != nil && tap != nil {
		err = errors.Join(err, tap.Close())
	}
	if err != nil {
		return nil, err
	}
	return tap, nil
}

// openTap makes a tap in this thread's namespace. With a header for each frame QEMU leaves checksums to the machine.
func openTap(name string) (*os.File, error) {
	fd, err := unix.Open(tunDevice, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", tunDevice, err)
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		_ = unix.Close(fd) // it is not an interface yet
		return nil, fmt.Errorf("make tap %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// plug joins a link of this thread's namespace to the bridge.
func plug(name string, mtu int) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	bridge, err := netlink.LinkByName(bridgeName)
	if err != nil {
		return err
	}
	return errors.Join(netlink.LinkSetMTU(link, mtu), netlink.LinkSetMaster(link, bridge), netlink.LinkSetUp(link))
}

// Detach removes a port; a missing one is not an error.
func (n *Network) Detach(ctx context.Context, p Port) error {
	err := p.check()
	if err == nil {
		err = inNamespace(n.names.namespace, func() error {
			// nft deletes only what is there, so it is added first, in the same transaction.
			return errors.Join(nft(ctx, p.entry().rules("add")+p.entry().rules("delete")), dropLink(p.link()))
		})
	}
	if err != nil {
		return fmt.Errorf("detach port %s from network %s: %w", p.Key, n.names.namespace, err)
	}
	return nil
}

// Sync makes the switch's ports exactly those of ports, whose taps are open, and removes others. Of unread nothing is known
// but the keys: what the switch has of them stays, and Scope gives nobody else their addresses.
func (n *Network) Sync(ctx context.Context, ports []Port, unread ...string) error {
	known := map[string]bool{}
	entries := make([]entry, 0, len(ports))
	for _, p := range ports {
		if err := p.check(); err != nil {
			return fmt.Errorf("sync network %s: %w", n.names.namespace, err)
		}
		known[p.link()] = true
		entries = append(entries, p.entry())
	}
	err := inNamespace(n.names.namespace, func() error {
		kept, err := keptEntries(ctx, unread)
		if err != nil {
			return err
		}
		for _, e := range kept {
			known[e.link] = true
			n.reserve(e.address)
		}
		if err := nft(ctx, switchRules(append(entries, kept...), replacePorts)); err != nil {
			return err
		}
		links, err := netlink.LinkList()
		if err != nil {
			return err
		}
		for _, l := range links {
			name := l.Attrs().Name
			if l.Type() == "tuntap" && strings.HasPrefix(name, tapPrefix) && !known[name] {
				err = errors.Join(err, dropLink(name))
			}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("sync network %s: %w", n.names.namespace, err)
	}
	return nil
}
