package network

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

const (
	probes = 2
	// probeWait is how long each probe waits for an answer. RFC 5227 waits for seconds, which a pod's start can't
	// afford: the networks here are bridges and port groups, and the host hands out addresses with care.
	probeWait = 150 * time.Millisecond

	etherARP    = 0x0806
	arpRequest  = 1
	arpReply    = 2
	arpBytes    = 28
	etherHeader = 14
)

// probe returns ErrAddressInUse when another host on the link answers for ip.
func probe(ctx context.Context, index int, mac net.HardwareAddr, ip netip.Addr) error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("probe address: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: swap(etherARP), Ifindex: index}); err != nil {
		return fmt.Errorf("probe address: %w", err)
	}
	for range probes {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := unix.Write(fd, request(mac, ip)); err != nil {
			return fmt.Errorf("probe address: %w", err)
		}
		owner, err := answer(fd, mac, ip)
		if err != nil {
			return fmt.Errorf("probe address: %w", err)
		}
		if owner != nil {
			return fmt.Errorf("%w: %s belongs to %s", ErrAddressInUse, ip, owner)
		}
	}
	return nil
}

// swap turns a number into network byte order.
func swap(n uint16) uint16 { return n<<8 | n>>8 }

// request is an ARP probe: a request from no address.
func request(mac net.HardwareAddr, ip netip.Addr) []byte {
	b := make([]byte, 0, etherHeader+arpBytes)
	b = append(b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	b = append(b, mac...)
	b = binary.BigEndian.AppendUint16(b, etherARP)
	b = binary.BigEndian.AppendUint16(b, 1) // Ethernet
	b = binary.BigEndian.AppendUint16(b, 0x0800)
	b = append(b, 6, 4) // bytes of a hardware and of a protocol address
	b = binary.BigEndian.AppendUint16(b, arpRequest)
	b = append(b, mac...)
	b = append(b, 0, 0, 0, 0)
	b = append(b, 0, 0, 0, 0, 0, 0)
	return append(b, ip.AsSlice()...)
}

// answer waits for a frame that claims ip, and returns its sender.
func answer(fd int, mac net.HardwareAddr, ip netip.Addr) (net.HardwareAddr, error) {
	deadline := time.Now().Add(probeWait)
	buf := make([]byte, 1500)
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return nil, nil
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return nil, err
		}
		if n, err = unix.Read(fd, buf); err != nil {
			return nil, err
		}
		if owner := claim(buf[:n], mac, ip); owner != nil {
			return owner, nil
		}
	}
}

// claim returns the sender of frame if it says that it has ip, or probes for it at the same time as we do.
func claim(frame []byte, mac net.HardwareAddr, ip netip.Addr) net.HardwareAddr {
	if len(frame) < etherHeader+arpBytes || binary.BigEndian.Uint16(frame[12:]) != etherARP {
		return nil
	}
	arp := frame[etherHeader:]
	operation := binary.BigEndian.Uint16(arp[6:])
	sender := net.HardwareAddr(append([]byte(nil), arp[8:14]...))
	senderIP, targetIP := netip.AddrFrom4([4]byte(arp[14:18])), netip.AddrFrom4([4]byte(arp[24:28]))
	if sender.String() == mac.String() {
		return nil
	}
	probing := operation == arpRequest && senderIP.IsUnspecified() && targetIP == ip
	if (operation == arpRequest || operation == arpReply) && senderIP == ip || probing {
		return sender
	}
	return nil
}
