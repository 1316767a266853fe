package listen

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Ports that we choose ourselves are below the kernel's ephemeral range, which begins at 32768: a port in it may be
// taken by some outgoing connection when we come back to it. They also stay clear of the range of node ports.
const (
	firstPort    = 16384
	lastPort     = 29999
	portAttempts = 50
)

// Config says where to listen.
type Config struct {
	// Port is the port on 127.0.0.1; 0 means that one is chosen.
	Port int
	// Preferred is the port to choose first when Port is 0; 0 means none.
	Preferred int
	// Pods is the address for pods, and the zero value means none. It need not be on any interface.
	Pods netip.AddrPort
}

// AddressError says that an address cannot be listened on, and which flag asked for it.
type AddressError struct {
	Flag    string
	Address string
	Err     error
}

// Error names the flag and the address.
func (e *AddressError) Error() string {
	if errors.Is(e.Err, unix.EADDRINUSE) {
		return fmt.Sprintf("%s: port in use: another program listens on %s", e.Flag, e.Address)
	}
	return fmt.Sprintf("%s: listen on %s: %v", e.Flag, e.Address, e.Err)
}

// Unwrap returns the cause.
func (e *AddressError) Unwrap() error { return e.Err }

// Listen opens what c names. Its Addr is the one on loopback. An address that cannot be had is an AddressError.
func Listen(ctx context.Context, c Config) (net.Listener, error) {
	loopback, err := listenLoopback(ctx, c)
	if err != nil {
		return nil, err
	}
	if !c.Pods.IsValid() {
		return loopback, nil
	}
	pods, err := listenFree(ctx, c.Pods)
	if err != nil {
		return nil, errors.Join(&AddressError{Flag: "--pod-listen", Address: c.Pods.String(), Err: err}, loopback.Close())
	}
	return merge(loopback, pods), nil
}

func listenLoopback(ctx context.Context, c Config) (net.Listener, error) {
	if c.Port != 0 {
		return listenPort(ctx, c.Port)
	}
	port := c.Preferred
	for range portAttempts {
		if port != 0 {
			l, err := listenPort(ctx, port)
			if err == nil || !errors.Is(err, unix.EADDRINUSE) {
				return l, err
			}
		}
		port = firstPort + rand.IntN(lastPort-firstPort+1) //nolint:gosec // which port it is need not be secret
	}
	return nil, fmt.Errorf("no free port found between %d and %d; name one with --api-port", firstPort, lastPort)
}

func listenPort(ctx context.Context, port int) (net.Listener, error) {
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	l, err := new(net.ListenConfig).Listen(ctx, "tcp4", address)
	if err != nil {
		return nil, &AddressError{Flag: "--api-port", Address: address, Err: cause(err)}
	}
	return l, nil
}

// listenFree listens on an address that may not be on any interface yet.
func listenFree(ctx context.Context, address netip.AddrPort) (net.Listener, error) {
	config := net.ListenConfig{Control: func(_, _ string, conn syscall.RawConn) error {
		var option error
		err := conn.Control(func(fd uintptr) {
			if address.Addr().Is6() {
				option = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1)
			} else {
				option = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_FREEBIND, 1)
			}
		})
		return errors.Join(err, option)
	}}
	l, err := config.Listen(ctx, "tcp", address.String())
	return l, cause(err)
}

// cause takes net's description of the operation away, which an AddressError gives in its own words.
func cause(err error) error {
	if number, ok := errors.AsType[syscall.Errno](err); ok {
		return number
	}
	return err
}
