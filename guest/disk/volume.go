package disk

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/guest/process"
)

// ErrUnknownContent says that a disk holds something that is not a file system of ours to mount. It is left as it is.
var ErrUnknownContent = errors.New("disk is neither blank nor formatted with ext4")

// signatureBytes are read at both ends of a disk: all file systems, volume managers, arrays, encryption and partition tables
// that are known to blkid(8) leave a mark there.
const signatureBytes = 1 << 20

// Volume mounts the disk of a persistent volume at target. A blank one gets a file system first, unless it is to be read
// only; one with anything but ext4 on it is refused with ErrUnknownContent, and nothing is ever written to it. What a crash
// left in the journal is replayed by the mount; there is no further check.
func Volume(ctx context.Context, r Runner, device, target string, readOnly bool) error {
	is, err := contentOf(device)
	switch {
	case err != nil:
		return fmt.Errorf("read disk: %w", err)
	case is == contentUnknown:
		return ErrUnknownContent
	case is == contentBlank && readOnly:
		return errors.New("disk is blank and to be read only: it has no file system to mount")
	case is == contentBlank:
		if err := format(ctx, r, device); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(target, 0o755); err != nil { // containers reach it by their own mounts
		return err
	}
	flags := uintptr(unix.MS_NODEV | unix.MS_RELATIME)
	if readOnly {
		flags |= unix.MS_RDONLY
	}
	if err := unix.Mount(device, target, "ext4", flags, ""); err != nil {
		return fmt.Errorf("mount disk: %w", err)
	}
	return nil
}

// format makes an ext4 file system as the kubelet does.
func format(ctx context.Context, r Runner, device string) error {
	// Half a file system would be unknown content: what is begun comes to its end.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), formatTimeout)
	defer cancel()
	out, err := r.Run(ctx, process.Spec{
		Args: []string{"/bin/mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", "-E", "nodiscard", device}, Env: []string{"PATH=/bin"},
	})
	if err != nil {
		return fmt.Errorf("format disk: %w: %s", err, out)
	}
	return nil
}

// content is what a disk holds.
type content int

const (
	contentUnknown content = iota
	contentBlank
	contentExt4
)

// contentOf reads both ends of a disk. Only zeros are blank.
func contentOf(device string) (content, error) {
	f, err := os.Open(device)
	if err != nil {
		return contentUnknown, err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return contentUnknown, err
	}
	if size == 0 {
		return contentUnknown, errors.New("it has no bytes")
	}
	head, err := readFully(f, 0, min(size, signatureBytes))
	if err != nil {
		return contentUnknown, err
	}
	tail, err := readFully(f, max(0, size-signatureBytes), min(size, signatureBytes))
	switch {
	case err != nil:
		return contentUnknown, err
	case isExt4(head):
		return contentExt4, nil
	case isZero(head) && isZero(tail):
		return contentBlank, nil
	}
	return contentUnknown, nil
}

// readFully reads n bytes or fails.
func readFully(r io.ReaderAt, at, n int64) ([]byte, error) {
	b := make([]byte, n)
	if got, err := r.ReadAt(b, at); int64(got) < n {
		return nil, errors.Join(err, io.ErrUnexpectedEOF)
	}
	return b, nil
}

func isZero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

// isExt4 looks for the magic number of ext2, 3 and 4, all of which the ext4 driver mounts.
func isExt4(head []byte) bool {
	const at = superBlock + magicAt
	return len(head) > at+1 && binary.LittleEndian.Uint16(head[at:]) == magic
}
