package network

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/internal/ownthread"
)

// namespacesDir is where ip-netns(8) looks for namespaces.
const namespacesDir = "/run/netns"

// inNamespace runs f on a thread in the namespace, which processes that f starts inherit.
func inNamespace(name string, f func() error) error {
	ns, err := netns.GetFromName(name)
	if err != nil {
		return fmt.Errorf("enter namespace %s: %w", name, err)
	}
	defer ns.Close()
	return ownthread.Run(func() error {
		if err := netns.Set(ns); err != nil {
			return fmt.Errorf("enter namespace %s: %w", name, err)
		}
		return f()
	})
}

// makeNamespace makes a namespace unless it is there. What a crash left of one is replaced.
func makeNamespace(name string) error {
	path := filepath.Join(namespacesDir, name)
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err == nil && st.Type == unix.NSFS_MAGIC {
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("replace namespace %s: %w", name, err)
	}
	if err := shareNamespacesDir(); err != nil {
		return fmt.Errorf("make namespace %s: %w", name, err)
	}
	err := ownthread.Run(func() error {
		ns, err := netns.NewNamed(name)
		if err == nil {
			err = errors.Join(ns.Close(), silenceIPv6("all"), silenceIPv6("default"), switchOnly())
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("make namespace %s: %w", name, err)
	}
	return nil
}

// shareNamespacesDir makes the directory a shared mount, as the first "ip netns add" on a machine does. If ip did it after
// us, it would mount the directory over itself with our namespace in it; the namespace's file would be mounted twice, and
// the lower mount could be neither reached nor removed.
func shareNamespacesDir() error {
	if err := os.MkdirAll(namespacesDir, 0o755); err != nil { //nolint:gosec // the mode that ip gives it
		return err
	}
	share := func() error { return unix.Mount("", namespacesDir, "", unix.MS_SHARED|unix.MS_REC, "") }
	err := share()
	if errors.Is(err, unix.EINVAL) { // no mount yet
		if err := unix.Mount(namespacesDir, namespacesDir, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("mount %s: %w", namespacesDir, err)
		}
		err = share()
	}
	if err != nil {
		return fmt.Errorf("share %s: %w", namespacesDir, err)
	}
	return nil
}

func dropNamespace(name string) error {
	path := filepath.Join(namespacesDir, name)
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount namespace %s: %w", name, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove namespace %s: %w", name, err)
	}
	return nil
}

// switchOnly keeps frames that the bridge of this thread's namespace passes on out of the hooks for routed packets,
// where a machine has br_netfilter.
func switchOnly() error {
	return setting("/proc/sys/net/bridge/bridge-nf-call-iptables", "0")
}

// silenceIPv6 keeps an interface of this thread's namespace from having IPv6 addresses. A kernel without IPv6 has none.
func silenceIPv6(link string) error {
	return setting(filepath.Join("/proc/sys/net/ipv6/conf", link, "disable_ipv6"), "1")
}

// setting writes a file of /proc/sys; one that the kernel does not have needs no setting.
func setting(file, value string) error {
	if err := os.WriteFile(file, []byte(value), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// withLinks gives f the links of a namespace.
func withLinks(name string, f func(*netlink.Handle) error) error {
	ns, err := netns.GetFromName(name)
	if err != nil {
		return fmt.Errorf("open namespace %s: %w", name, err)
	}
	defer ns.Close()
	links, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("list links of namespace %s: %w", name, err)
	}
	defer links.Close()
	return f(links)
}
