package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A unix socket's path has at most 107 bytes (unix(7)), a VM's directory may be deeper. So paths begin at a descriptor
// of the directory.
func shortPath(dir *os.File, name string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), name)
}

// bindSocket makes a socket that is bound and does not listen: QEMU does that, and so becomes the process that peers see.
func bindSocket(dir, name string) (*os.File, error) {
	if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make socket %s: %w", name, err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: shortPath(d, name)}); err != nil {
		_ = unix.Close(fd) // it has no content
		return nil, fmt.Errorf("bind socket %s: %w", name, spaceError(err))
	}
	return os.NewFile(uintptr(fd), name), nil
}

// dialSocket connects to a VM's socket.
func dialSocket(ctx context.Context, dir, name string) (*net.UnixConn, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", shortPath(d, name))
	if err != nil {
		return nil, err
	}
	return conn.(*net.UnixConn), nil
}

// peerPID returns the process that listens at the other end.
func peerPID(conn *net.UnixConn) (int, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var optErr error
	err = raw.Control(func(fd uintptr) { cred, optErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(err, optErr); err != nil {
		return 0, fmt.Errorf("ask for the peer's process: %w", err)
	}
	return int(cred.Pid), nil
}
