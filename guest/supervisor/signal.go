package supervisor

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// parseSignal takes a signal as images have it: SIGTERM, TERM, 15, SIGRTMIN+3. Empty is SIGTERM.
func parseSignal(s string) (syscall.Signal, error) {
	const rtMin, last = 34, 64 // as libc has them
	if s == "" {
		return syscall.SIGTERM, nil
	}
	if n, err := strconv.Atoi(s); err == nil && n > 0 && n <= last {
		return syscall.Signal(n), nil
	}
	name := "SIG" + strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if sig := unix.SignalNum(name); sig != 0 {
		return sig, nil
	}
	if n, ok := offset(name, "SIGRTMIN", "+"); ok && rtMin+n <= last {
		return syscall.Signal(rtMin + n), nil
	}
	if n, ok := offset(name, "SIGRTMAX", "-"); ok && last-n >= rtMin {
		return syscall.Signal(last - n), nil
	}
	return 0, fmt.Errorf("stop signal %q is %w", s, ErrInvalid)
}

// offset takes "SIGRTMIN" and "SIGRTMIN+3" apart.
func offset(name, base, sign string) (int, bool) {
	rest, ok := strings.CutPrefix(name, base)
	if !ok || rest == "" {
		return 0, ok
	}
	digits, ok := strings.CutPrefix(rest, sign)
	n, err := strconv.ParseUint(digits, 10, 8)
	return int(n), ok && err == nil
}
