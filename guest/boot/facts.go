package boot

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Kernel returns the kernel's release.
func Kernel() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", fmt.Errorf("read kernel release: %w", err)
	}
	return unix.ByteSliceToString(u.Release[:]), nil
}

// MemoryBytes returns how much memory the kernel manages.
func MemoryBytes() (int64, error) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0, fmt.Errorf("read memory size: %w", err)
	}
	return int64(info.Totalram) * int64(info.Unit), nil
}

// SetClock steps the VM's clock.
func SetClock(t time.Time) error {
	tv := unix.NsecToTimeval(t.UnixNano())
	if err := unix.Settimeofday(&tv); err != nil {
		return fmt.Errorf("set clock: %w", err)
	}
	return nil
}

// AddEntropy credits b to the random pool with eight bits a byte, and makes the kernel use it at once.
func AddEntropy(b []byte) error {
	random, err := os.OpenFile("/dev/random", os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("add entropy: %w", err)
	}
	defer random.Close()
	// struct rand_pool_info of linux/random.h: bits, bytes, then the bytes themselves.
	info := make([]int32, 2+(len(b)+3)/4)
	info[0], info[1] = int32(len(b)*8), int32(len(b))
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&info[2])), len(b)), b)
	for _, call := range []struct{ request, argument uintptr }{
		{unix.RNDADDENTROPY, uintptr(unsafe.Pointer(&info[0]))},
		{unix.RNDRESEEDCRNG, 0},
	} {
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, random.Fd(), call.request, call.argument); errno != 0 {
			return fmt.Errorf("add entropy: %w", errno)
		}
	}
	return nil
}

// AvailableBytes returns how much memory is free or can be freed.
func AvailableBytes() (int64, error) {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, fmt.Errorf("read free memory: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		if n, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			var kib int64
			if _, err := fmt.Sscan(n, &kib); err != nil {
				return 0, fmt.Errorf("read free memory: %w", err)
			}
			return kib << 10, nil
		}
	}
	return 0, errors.New("read free memory: the kernel does not say")
}
