package usage

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// maxInterfaces bounds the interfaces that are reported; a pod VM has one or two, and its containers may make more.
const maxInterfaces = 16

// OfInterfaces reads the counters of the VM's network interfaces, without loopback, from sysfs at sys.
func OfInterfaces(sys string) ([]wire.InterfaceStats, error) {
	class := filepath.Join(sys, "class", "net")
	names, err := os.ReadDir(class)
	if err != nil {
		return nil, err
	}
	var all []wire.InterfaceStats
	for _, name := range names {
		if name.Name() == "lo" || len(all) == maxInterfaces {
			continue
		}
		if one, err := ofInterface(filepath.Join(class, name.Name(), "statistics")); err == nil { // else it went meanwhile
			one.Name = name.Name()
			all = append(all, one)
		}
	}
	return all, nil
}

func ofInterface(dir string) (wire.InterfaceStats, error) {
	var one wire.InterfaceStats
	for file, to := range map[string]*uint64{
		"rx_bytes": &one.RxBytes, "tx_bytes": &one.TxBytes, "rx_errors": &one.RxErrors, "tx_errors": &one.TxErrors,
	} {
		n, err := number(filepath.Join(dir, file))
		if err != nil {
			return one, err
		}
		*to = n
	}
	return one, nil
}

// OfFilesystem reads how full the file system is that path is on.
func OfFilesystem(path string) (wire.FilesystemStats, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return wire.FilesystemStats{}, fmt.Errorf("look at %s: %w", path, err)
	}
	block := uint64(fs.Bsize)
	return wire.FilesystemStats{
		CapacityBytes: fs.Blocks * block, AvailableBytes: fs.Bavail * block, UsedBytes: (fs.Blocks - fs.Bfree) * block,
		Inodes: fs.Files, InodesFree: fs.Ffree,
	}, nil
}
