package crun

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// seals are those by which crun knows that nobody can change it (is_self_cloned of its source).
const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE

// seal copies crun into memory where not even root of a container can write. Any other crun makes itself safe each time
// it runs, by running itself again from a mount of its own, which takes as long as all that it does besides.
func seal(path string) (*os.File, error) {
	from, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	fd, err := unix.MemfdCreate("crun", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	sealed := os.NewFile(uintptr(fd), fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd))
	if _, err = io.Copy(sealed, from); err == nil {
		_, err = unix.FcntlInt(sealed.Fd(), unix.F_ADD_SEALS, seals)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("seal %s: %w", path, err), sealed.Close())
	}
	return sealed, nil
}
