package node

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"k8s.io/client-go/rest"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/operations/plan"
)

// HostAddress is an address of this host that others reach, since the API server refuses to talk to loopback ones.
func HostAddress() (netip.Addr, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find this host's address: %w", err)
	}
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && p.Addr().Is4() && p.Addr().IsGlobalUnicast() {
			return p.Addr(), nil
		}
	}
	return netip.Addr{}, errors.New("this host has no IPv4 address but loopback, which the API server does not reach")
}

// addressTowards is the address that this host reaches the API server from.
func addressTowards(api *rest.Config) (netip.Addr, error) {
	u, err := url.Parse(api.Host)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("address of the API server: %w", err)
	}
	from, err := sourceAddress(u)
	if err != nil || from.IsLoopback() {
		return HostAddress()
	}
	return from, nil
}

// sourceAddress is the address that packets to u leave from; nothing is sent.
func sourceAddress(u *url.URL) (netip.Addr, error) {
	port := u.Port()
	if port == "" {
		port = "443"
	}
	conn, err := net.Dial("udp", net.JoinHostPort(u.Hostname(), port)) //nolint:noctx // UDP: it only asks the routing table
	if err != nil {
		return netip.Addr{}, err
	}
	defer conn.Close()
	from, err := netip.ParseAddrPort(conn.LocalAddr().String())
	return from.Addr().Unmap(), err
}

// hostDNS is this host's resolv.conf. systemd-resolved listens on loopback, which pods don't reach; it keeps the real
// servers in a file of its own.
func hostDNS() wire.DNS {
	for _, path := range []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"} {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		dns := plan.ParseResolvConf(string(text))
		if len(dns.Nameservers) > 0 && !strings.HasPrefix(dns.Nameservers[0], "127.") {
			return dns
		}
	}
	return wire.DNS{}
}
