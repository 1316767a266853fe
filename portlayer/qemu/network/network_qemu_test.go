//go:build qemu

package network_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/portlayer/qemu/network"
)

// ownMachine moves the test into a network namespace of its own, which stands for the machine: what it does to routes,
// rules and forwarding, it does there. The thread ends with the test.
func ownMachine(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	ns, err := netns.New()
	require.NoError(t, err)
	t.Cleanup(func() { _ = ns.Close() })
	lo, err := netlink.LinkByName("lo")
	require.NoError(t, err)
	require.NoError(t, netlink.LinkSetUp(lo))
}

func open(t *testing.T, cfg network.Config) *network.Network {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	n, err := network.Open(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, network.Purge(context.WithoutCancel(t.Context()), cfg.Dir)) })
	return n
}

// station is a test in the place of a VM: it reads and writes the frames of its tap.
type station struct {
	t    *testing.T
	tap  *os.File
	mac  net.HardwareAddr
	addr netip.Addr
}

func join(t *testing.T, n *network.Network, last byte) *station {
	t.Helper()
	a := n.Subnet().Addr().As4()
	a[3] = last
	s := &station{t: t, mac: net.HardwareAddr{2, 0, 0, 0, 0, last}, addr: netip.AddrFrom4(a)}
	var err error
	s.tap, err = n.Attach(t.Context(), s.port())
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.tap.Close() })
	return s
}

func (s *station) port() network.Port {
	return network.Port{Key: fmt.Sprintf("vm-%d/0", s.mac[5]), MAC: s.mac.String(), Address: s.addr}
}

const vnetHeader = 10 // struct virtio_net_hdr; all zero asks for nothing

func (s *station) send(frame []byte) {
	_, err := s.tap.Write(append(make([]byte, vnetHeader), frame...))
	require.NoError(s.t, err)
}

// receive returns the next frame that match likes.
func (s *station) receive(match func([]byte) bool) []byte {
	frame, err := s.await(10*time.Second, match)
	require.NoError(s.t, err)
	return frame
}

func (s *station) await(patience time.Duration, match func([]byte) bool) ([]byte, error) {
	if err := s.tap.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	buf := make([]byte, 65536)
	for {
		n, err := s.tap.Read(buf)
		if err != nil {
			return nil, err
		}
		if n > vnetHeader && match(buf[vnetHeader:n]) {
			return buf[vnetHeader:n], nil
		}
	}
}

func ethernet(dst, src net.HardwareAddr, kind uint16, payload []byte) []byte {
	frame := append(append(append([]byte{}, dst...), src...), byte(kind>>8), byte(kind))
	return append(frame, append(payload, make([]byte, max(0, 46-len(payload)))...)...)
}

var broadcast = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// arp asks who has target, as sender with that hardware and IP address.
func arp(mac net.HardwareAddr, sender, target netip.Addr) []byte {
	p := []byte{0, 1, 8, 0, 6, 4, 0, 1}
	p = append(append(p, mac...), sender.AsSlice()...)
	return append(append(p, make([]byte, 6)...), target.AsSlice()...)
}

func ipv4(src, dst netip.Addr, payload string) []byte {
	p := make([]byte, 20)
	p[0], p[8], p[9] = 0x45, 64, 253 // protocol 253 is for experiments (RFC 3692)
	binary.BigEndian.PutUint16(p[2:], uint16(20+len(payload)))
	copy(p[12:], src.AsSlice())
	copy(p[16:], dst.AsSlice())
	var sum uint32
	for i := 0; i < len(p); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(p[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(p[10:], ^uint16(sum))
	return append(p, payload...)
}

func TestFramesUnderAForeignAddressAreDropped(t *testing.T) {
	ownMachine(t)
	n := open(t, network.Config{})
	a, b := join(t, n, 10), join(t, n, 11)
	other := net.HardwareAddr{2, 0, 0, 0, 0, 99}
	foreign := n.Subnet().Addr().Next().Next()
	probe := arp(a.mac, netip.IPv4Unspecified(), a.addr)
	vlan := append([]byte{0, 5, 8, 0}, ipv4(a.addr, b.addr, "spoof")...)
	spoofed := map[string][]byte{
		"another source MAC":               ethernet(broadcast, other, 0x0806, arp(a.mac, a.addr, b.addr)),
		"another MAC in ARP":               ethernet(broadcast, a.mac, 0x0806, arp(other, a.addr, b.addr)),
		"another address in ARP":           ethernet(broadcast, a.mac, 0x0806, arp(a.mac, foreign, b.addr)),
		"the gateway's address in ARP":     ethernet(broadcast, a.mac, 0x0806, arp(a.mac, n.Gateway(), b.addr)),
		"the neighbour's address in ARP":   ethernet(broadcast, a.mac, 0x0806, arp(a.mac, b.addr, b.addr)),
		"an ARP probe with another MAC":    ethernet(broadcast, a.mac, 0x0806, arp(other, netip.IPv4Unspecified(), a.addr)),
		"another IPv4 source":              ethernet(b.mac, a.mac, 0x0800, ipv4(foreign, b.addr, "spoof")),
		"the neighbour's IPv4 source":      ethernet(b.mac, a.mac, 0x0800, ipv4(b.addr, b.addr, "spoof")),
		"IPv4 with another source MAC":     ethernet(b.mac, other, 0x0800, ipv4(a.addr, b.addr, "spoof")),
		"IPv6":                             ethernet(b.mac, a.mac, 0x86dd, make([]byte, 60)),
		"IPv4 in a VLAN":                   ethernet(b.mac, a.mac, 0x8100, vlan),
		"a protocol that is neither":       ethernet(b.mac, a.mac, 0x88b5, []byte("spoof")),
		"a bridge's own protocol, for all": ethernet(net.HardwareAddr{1, 0x80, 0xc2, 0, 0, 0}, a.mac, 39, []byte{0x42, 0x42, 3}),
	}
	a.answers(n)
	b.answers(n)
	gateway := hostMAC(t, n)
	ours := func(f []byte) bool { return net.HardwareAddr(f[6:12]).String() != gateway && f[21] != 1 }
	probes := func(f []byte) bool { return f[13] == 6 && f[31] == 0 }
	for name, frame := range spoofed {
		t.Run(name, func(t *testing.T) {
			a.send(frame)
			a.send(ethernet(b.mac, a.mac, 0x0800, ipv4(a.addr, b.addr, "honest: "+name)))
			got := b.receive(ours)
			assert.Contains(t, string(got), "honest: "+name, "what arrived is not the honest frame")
		})
	}
	a.send(ethernet(broadcast, a.mac, 0x0806, probe))
	assert.Equal(t, byte(6), b.receive(probes)[13], "an ARP probe passes")
}

// hostMAC is the gateway's MAC address.
func hostMAC(t *testing.T, n *network.Network) string {
	t.Helper()
	link, err := netlink.LinkByName(strings.ReplaceAll(n.Name(), "-", ""))
	require.NoError(t, err)
	return link.Attrs().HardwareAddr.String()
}

// answers reports whether the gateway answers the station's ARP.
func (s *station) answers(n *network.Network) {
	s.send(ethernet(broadcast, s.mac, 0x0806, arp(s.mac, s.addr, n.Gateway())))
	s.receive(func(f []byte) bool {
		return f[13] == 6 && f[21] == 2 && net.HardwareAddr(f[6:12]).String() == hostMAC(s.t, n)
	})
}

func TestOpenRepairsWhatACrashLeft(t *testing.T) {
	ownMachine(t)
	breaks := map[string]func(t *testing.T, n *network.Network){
		"nothing is broken": func(*testing.T, *network.Network) {},
		"the veth is gone": func(t *testing.T, n *network.Network) {
			link, err := netlink.LinkByName(strings.ReplaceAll(n.Name(), "-", ""))
			require.NoError(t, err)
			require.NoError(t, netlink.LinkDel(link))
		},
		"the bridge is gone": func(t *testing.T, n *network.Network) {
			require.NoError(t, exec.Command("ip", "-n", n.Name(), "link", "del", "br0").Run())
		},
		"the rules are gone": func(t *testing.T, n *network.Network) {
			require.NoError(t, exec.Command("nft", "delete", "table", "ip", n.Name()).Run())
			require.NoError(t, exec.Command("ip", "netns", "exec", n.Name(), "nft", "flush", "ruleset").Run())
		},
		"the namespace was never mounted": func(t *testing.T, n *network.Network) {
			require.NoError(t, exec.Command("ip", "netns", "del", n.Name()).Run())
			require.NoError(t, os.WriteFile(filepath.Join("/run/netns", n.Name()), nil, 0o444))
		},
	}
	for name, damage := range breaks {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var subnet netip.Prefix
			onThisThread(t, func(t *testing.T) {
				n := open(t, network.Config{Dir: dir})
				subnet = n.Subnet()
				damage(t, n)
				again := open(t, network.Config{Dir: dir})
				assert.Equal(t, subnet, again.Subnet())
				join(t, again, 10).answers(again)
			})
		})
	}
}

// onThisThread moves a subtest, which has a goroutine of its own, to a machine of its own.
func onThisThread(t *testing.T, f func(*testing.T)) {
	t.Helper()
	ownMachine(t)
	f(t)
}

func TestTwoNetworksSideBySide(t *testing.T) {
	ownMachine(t)
	one, two := open(t, network.Config{}), open(t, network.Config{})
	assert.NotEqual(t, one.Name(), two.Name())
	assert.False(t, one.Subnet().Overlaps(two.Subnet()))
	join(t, one, 10).answers(one)
	join(t, two, 10).answers(two)
	require.NoError(t, one.Down(t.Context()))
	require.NoError(t, one.Down(t.Context()), "twice is not an error")
	join(t, two, 11).answers(two)
	assert.Equal(t, network.ScopeName, two.Scope().Name)
	assert.Equal(t, two.Gateway(), two.Scope().Gateway)
}

func TestDownKeepsTheSubnet(t *testing.T) {
	ownMachine(t)
	cfg := network.Config{Dir: t.TempDir()}
	n := open(t, cfg)
	require.NoError(t, n.Down(t.Context()))
	assert.Equal(t, n.Subnet(), open(t, cfg).Subnet())
	assert.FileExists(t, filepath.Join(cfg.Dir, "subnet"))
}

func TestPurgeLeavesNothing(t *testing.T) {
	ownMachine(t)
	dir := t.TempDir()
	n := open(t, network.Config{Dir: dir, UplinkNAT: true})
	join(t, n, 10)
	require.NoError(t, network.Purge(t.Context(), dir))
	rules, err := exec.Command("nft", "list", "ruleset").Output()
	require.NoError(t, err)
	assert.Empty(t, string(rules))
	links, err := netlink.LinkList()
	require.NoError(t, err)
	for _, l := range links {
		assert.NotContains(t, l.Attrs().Name, "vic")
	}
	assert.NoFileExists(t, filepath.Join("/run/netns", n.Name()))
}

func TestAPortEndsWithWhoHasItOpen(t *testing.T) {
	ownMachine(t)
	n := open(t, network.Config{})
	s := join(t, n, 10)
	assert.Equal(t, 1, taps(t, n))
	second, err := n.Attach(t.Context(), s.port())
	require.NoError(t, err, "a second holder takes the port over")
	assert.Equal(t, 1, taps(t, n))
	require.NoError(t, second.Close())
	require.Eventually(t, func() bool { return taps(t, n) == 0 }, time.Minute, 10*time.Millisecond)
	require.NoError(t, n.Detach(t.Context(), s.port()))
	require.NoError(t, n.Detach(t.Context(), s.port()), "twice is not an error")
}

func TestSyncKeepsThePortsThatAreNamed(t *testing.T) {
	ownMachine(t)
	n := open(t, network.Config{})
	a, b := join(t, n, 10), join(t, n, 11)
	require.NoError(t, n.Sync(t.Context(), []network.Port{a.port()}))
	assert.Equal(t, 1, taps(t, n))
	a.answers(n)
	_, err := b.tap.Write(make([]byte, 74))
	require.Error(t, err, "a port that nobody names is pulled out")
}

func TestSyncKeepsWhatItHasOfPortsOfWhichOnlyTheKeysAreKnown(t *testing.T) {
	ownMachine(t)
	dir := t.TempDir()
	before := open(t, network.Config{Dir: dir})
	a, b := join(t, before, 10), join(t, before, 11)
	n := open(t, network.Config{Dir: dir}) // as the next process does
	require.NoError(t, n.Sync(t.Context(), []network.Port{a.port()}, b.port().Key, "vm-none/0"))
	a.answers(n)
	b.answers(n)
	assert.Equal(t, []netip.Addr{b.addr}, n.Scope().Reserved, "nobody else gets its address")
	foreign := ethernet(b.mac, a.mac, 0x0800, ipv4(b.addr, b.addr, "spoof"))
	a.send(foreign)
	a.send(ethernet(b.mac, a.mac, 0x0800, ipv4(a.addr, b.addr, "honest")))
	assert.Contains(t, string(b.receive(func(f []byte) bool { return f[12] == 8 && f[13] == 0 })), "honest")
	require.NoError(t, n.Sync(t.Context(), []network.Port{a.port()}))
	assert.Equal(t, 1, taps(t, n))
}

func taps(t *testing.T, n *network.Network) int {
	t.Helper()
	out, err := exec.Command("ip", "-n", n.Name(), "-o", "link", "show", "type", "tun").Output()
	require.NoError(t, err)
	return strings.Count(string(out), "\n")
}

func TestAttachRefusesAddressesThatAreNotAPods(t *testing.T) {
	ownMachine(t)
	n := open(t, network.Config{})
	for _, bad := range []netip.Addr{n.Gateway(), netip.MustParseAddr("192.0.2.1")} {
		_, err := n.Attach(t.Context(), network.Port{Key: "k", MAC: "02:00:00:00:00:01", Address: bad})
		require.ErrorContains(t, err, bad.String())
	}
	assert.Equal(t, 0, taps(t, n))
}

// stack is the kernel of a pod: a namespace whose interface is plugged into a port.
func stack(t *testing.T, n *network.Network, last byte) string {
	t.Helper()
	s := join(t, n, last)
	name := fmt.Sprintf("vict-%d-%d", os.Getpid(), last)
	run(t, "ip", "netns", "add", name)
	t.Cleanup(func() { run(t, "ip", "netns", "del", name) })
	var dev *os.File
	in(t, name, func() {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		require.NoError(t, err)
		request, err := unix.NewIfreq("eth0")
		require.NoError(t, err)
		request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		require.NoError(t, unix.IoctlIfreq(fd, unix.TUNSETIFF, request))
		dev = os.NewFile(uintptr(fd), "eth0")
	})
	run(t, "ip", "-n", name, "link", "set", "eth0", "address", s.mac.String(), "up")
	run(t, "ip", "-n", name, "addr", "add", netip.PrefixFrom(s.addr, 24).String(), "dev", "eth0")
	run(t, "ip", "-n", name, "route", "add", "default", "via", n.Gateway().String())
	t.Cleanup(func() { _ = dev.Close() })
	go func() { _, _ = io.CopyBuffer(onlyWriter{s.tap}, onlyReader{dev}, make([]byte, 65536)) }() // ends with the files
	go func() { _, _ = io.CopyBuffer(onlyWriter{dev}, onlyReader{s.tap}, make([]byte, 65536)) }()
	return name
}

// onlyReader and onlyWriter keep io.Copy from going around its buffer: a frame is one read and one write.
type (
	onlyReader struct{ io.Reader }
	onlyWriter struct{ io.Writer }
)

func run(t *testing.T, args ...string) {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	require.NoError(t, err, "%s: %s", args, out)
}

// in runs f on a thread in a namespace.
func in(t *testing.T, name string, f func()) {
	t.Helper()
	ns, err := netns.GetFromName(name)
	require.NoError(t, err)
	defer ns.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if assert.NoError(t, netns.Set(ns)) {
			f()
		}
	}()
	<-done
}

// serve answers every TCP connection with the address that it comes from.
func serve(t *testing.T, addr string) {
	t.Helper()
	l, err := net.Listen("tcp4", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = fmt.Fprint(c, c.RemoteAddr())
			_ = c.Close()
		}
	}()
}

// ask returns what a server says.
func ask(addr string, patience time.Duration) (string, error) {
	c, err := net.DialTimeout("tcp4", addr, patience)
	if err != nil {
		return "", err
	}
	defer c.Close()
	b, err := io.ReadAll(c)
	return string(b), err
}

func TestPodsReachTheMachineEachOtherAndOutside(t *testing.T) {
	ownMachine(t)
	dir := t.TempDir()
	first := open(t, network.Config{Dir: dir})
	n := open(t, network.Config{Dir: dir, UplinkNAT: true, Translate: []network.Translation{{
		From: netip.MustParseAddrPort("10.96.0.1:443"), To: netip.AddrPortFrom(first.Gateway(), 6443),
	}}})
	outside := fmt.Sprintf("vict-%d-out", os.Getpid())
	run(t, "ip", "netns", "add", outside)
	t.Cleanup(func() { run(t, "ip", "netns", "del", outside) })
	run(t, "ip", "link", "add", "out0", "type", "veth", "peer", "name", "out1", "netns", outside)
	run(t, "ip", "addr", "add", "192.0.2.1/24", "dev", "out0")
	run(t, "ip", "link", "set", "out0", "up")
	run(t, "ip", "-n", outside, "addr", "add", "192.0.2.2/24", "dev", "out1")
	run(t, "ip", "-n", outside, "link", "set", "out1", "up")
	run(t, "ip", "-n", outside, "route", "add", n.Subnet().String(), "via", "192.0.2.1")
	one, two := stack(t, n, 10), stack(t, n, 11)
	pod := func(last byte) string { a := n.Subnet().Addr().As4(); a[3] = last; return netip.AddrFrom4(a).String() }

	serve(t, n.Gateway().String()+":6443")
	in(t, outside, func() { serve(t, "192.0.2.2:80") })
	in(t, two, func() { serve(t, pod(11)+":80") })
	tests := map[string]struct{ from, to, sees string }{
		"the machine":             {one, n.Gateway().String() + ":6443", pod(10) + ":"},
		"a translated address":    {one, "10.96.0.1:443", pod(10) + ":"},
		"another pod":             {one, pod(11) + ":80", pod(10) + ":"},
		"outside, as the machine": {one, "192.0.2.2:80", "192.0.2.1:"},
	}
	for name, tt := range tests {
		in(t, tt.from, func() {
			got, err := ask(tt.to, 10*time.Second)
			if assert.NoError(t, err, name) {
				assert.True(t, strings.HasPrefix(got, tt.sees), "%s: the server sees %s", name, got)
			}
		})
	}
	got, err := ask(pod(11)+":80", 10*time.Second)
	require.NoError(t, err, "the machine reaches a pod")
	assert.True(t, strings.HasPrefix(got, n.Gateway().String()))
	in(t, outside, func() {
		_, err := ask(pod(11)+":80", 500*time.Millisecond)
		assert.Error(t, err, "nobody is passed on to a pod unasked")
	})
}

// TestTheFirstNamespaceOfTheMachineIsOurs has ip make its first namespace after ours: it then shares the directory of
// namespaces, and what is in it. The test runs itself once more, with mounts of its own and an empty directory.
func TestTheFirstNamespaceOfTheMachineIsOurs(t *testing.T) {
	const inside = "VIC_TEST_OWN_MOUNTS"
	if os.Getenv(inside) == "" {
		again := exec.CommandContext(t.Context(), "unshare", "--mount", "sh", "-c",
			`mount -t tmpfs none /run && exec "$0" -test.run="^$1\$" -test.count=1`, os.Args[0], t.Name())
		again.Env = append(os.Environ(), inside+"=1")
		out, err := again.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), "PASS")
		return
	}
	ownMachine(t)
	open(t, network.Config{}) // its clean-up is what used to fail
	out, err := exec.CommandContext(t.Context(), "ip", "netns", "add", "of-ip").CombinedOutput()
	require.NoError(t, err, "%s", out)
}
