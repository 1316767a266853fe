package channel

import (
	"os"
	"runtime"
	"strings"
	"sync"

	"github.com/vmware/vmw-guestinfo/rpcvmx"
	"github.com/vmware/vmw-guestinfo/vmcheck"
	"golang.org/x/sys/unix"
)

// SystemBlob is a finder in the running system, which needs root.
func SystemBlob() BlobFinder {
	return BlobFinder{Sys: "/sys", Dev: "/dev", GuestInfo: guestInfo, MountCD: mountCD, Temp: "/run"}
}

// isVMware reports whether the processor says so: elsewhere nobody may touch the backdoor's port.
var isVMware = sync.OnceValue(vmcheck.IsVirtualCPU)

// guestInfo reads a key by the backdoor; it is empty where there is no such key.
func guestInfo(key string) (string, error) {
	if !isVMware() {
		return "", nil
	}
	runtime.LockOSThread() // the right to use ports is a thread's
	defer runtime.UnlockOSThread()
	if ok, err := vmcheck.IsVirtualWorld(false); !ok || err != nil {
		return "", err
	}
	return rpcvmx.NewConfig().String(key, "")
}

func mountCD(device, target string) (func() error, error) {
	err := unix.Mount(device, target, "iso9660", unix.MS_RDONLY|unix.MS_NODEV|unix.MS_NOSUID|unix.MS_NOEXEC, "")
	return func() error { return unix.Unmount(target, 0) }, err
}

// label is the name of the CD in a drive; it is empty where there is none.
func label(device string) string {
	const at, length = 16*2048 + 40, 32 // ECMA-119, section 8.4: primary volume descriptor, volume identifier
	f, err := os.Open(device)
	if err != nil {
		return ""
	}
	defer f.Close()
	b := make([]byte, length)
	if _, err := f.ReadAt(b, at); err != nil {
		return ""
	}
	return strings.TrimRight(string(b), " \x00")
}
