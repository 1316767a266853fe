package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// Errors that a host acts on.
var (
	// ErrNotFound says that the pod has no volume of that name and kind.
	ErrNotFound = errors.New("no such volume")
	// ErrInvalid says that a name or a path is not one that a volume can have.
	ErrInvalid = errors.New("not valid")
)

var (
	validName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,251}[a-z0-9])?$`)
	validDisk = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}(@[0-9]{1,3})?$`)
)

// Config says where a Set keeps its volumes.
type Config struct {
	// Scratch is a directory on the scratch disk, Memory one where file systems in memory are mounted.
	Scratch, Memory string
	// MountMemory mounts a tmpfs of at most sizeBytes at target; 0 is the kernel's default.
	MountMemory func(target string, sizeBytes int64) error
	// Disks is a directory where disks are mounted, by MountDisk.
	Disks     string
	MountDisk func(ctx context.Context, target string, v wire.Volume) error
	// FindDisk returns the device of a disk.
	FindDisk func(ctx context.Context, serial string) (string, error)
	// Group owns what the volumes hold, unless it is nil. With GroupOnRootMismatch a disk whose top directory is the group's
	// already is left as it is.
	Group               *int64
	GroupOnRootMismatch bool
}

// Set is the volumes of a pod. It is safe for concurrent use.
type Set struct {
	config Config

	mu      sync.Mutex // guards what follows and serializes Put
	volumes map[string]wire.Volume
	disks   map[string]bool   // where disks are mounted
	devices map[string]string // by volume
}

// New returns a Set without volumes.
func New(c Config) *Set {
	return &Set{config: c, volumes: map[string]wire.Volume{}, disks: map[string]bool{}, devices: map[string]string{}}
}

// MountTmpfs is Config.MountMemory of a real system.
func MountTmpfs(target string, sizeBytes int64) error {
	data := "mode=0777"
	if sizeBytes > 0 {
		data += ",size=" + strconv.FormatInt(sizeBytes, 10)
	}
	return unix.Mount("tmpfs", target, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, data)
}

// Add makes v. The same again is not a change, and one that is there from a former boot is kept as it is.
func (s *Set) Add(ctx context.Context, v wire.Volume) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !validName.MatchString(v.Name) {
		return fmt.Errorf("add volume: name %q is %w", v.Name, ErrInvalid)
	}
	if (v.Kind == wire.VolumeDisk || v.Kind == wire.VolumeDevice) && !validDisk.MatchString(v.Disk) {
		return fmt.Errorf("add volume %s: disk %q is %w", v.Name, v.Disk, ErrInvalid)
	}
	if former, ok := s.volumes[v.Name]; ok && reflect.DeepEqual(former, v) {
		return nil
	} else if ok {
		return fmt.Errorf("add volume %s: named twice, which is %w", v.Name, ErrInvalid)
	}
	if err := s.add(ctx, v); err != nil {
		return fmt.Errorf("add volume %s: %w", v.Name, err)
	}
	s.volumes[v.Name] = v
	return nil
}

func (s *Set) add(ctx context.Context, v wire.Volume) error {
	if v.Kind == wire.VolumeDevice {
		device, err := s.config.FindDisk(ctx, v.Disk)
		s.devices[v.Name] = device
		return err
	}
	if err := s.make(ctx, v); err != nil {
		return err
	}
	return s.own(v, s.dir(v))
}

func (s *Set) make(ctx context.Context, v wire.Volume) error {
	dir := s.dir(v)
	if err := os.MkdirAll(dir, 0o755); err != nil { // containers' users need to reach it
		return err
	}
	switch v.Kind {
	case wire.VolumeScratch:
		return os.Chmod(dir, modeOf(v)) // the umask would take bits away from MkdirAll
	case wire.VolumeMemory:
		if err := s.config.MountMemory(dir, v.SizeBytes); err != nil {
			return err
		}
		return os.Chmod(dir, modeOf(v))
	case wire.VolumeDisk:
		if s.disks[dir] {
			return nil
		}
		if err := s.config.MountDisk(ctx, dir, v); err != nil {
			return err
		}
		s.disks[dir] = true
		return nil
	case wire.VolumeFiles:
		if err := s.config.MountMemory(dir, 0); err != nil {
			return err
		}
		return os.Chmod(dir, 0o755) // files have modes of their own
	case wire.VolumeDevice: // it has no directory
	}
	return fmt.Errorf("kind %q is %w", v.Kind, ErrInvalid)
}

// modeOf is the mode of an emptyDir's directory.
func modeOf(v wire.Volume) os.FileMode {
	if v.Mode == nil {
		return 0o777
	}
	mode := os.FileMode(*v.Mode).Perm()
	if *v.Mode&unix.S_ISVTX != 0 {
		mode |= os.ModeSticky
	}
	return mode
}

func (s *Set) dir(v wire.Volume) string {
	switch v.Kind {
	case wire.VolumeScratch:
		return filepath.Join(s.config.Scratch, v.Name)
	case wire.VolumeDisk:
		return filepath.Join(s.config.Disks, v.Disk)
	case wire.VolumeMemory, wire.VolumeFiles, wire.VolumeDevice:
	}
	return filepath.Join(s.config.Memory, v.Name)
}

// Close unmounts all disks. The pod's containers have ended.
func (s *Set) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var failed error
	for dir := range s.disks {
		if err := unix.Unmount(dir, 0); err != nil {
			failed = errors.Join(failed, fmt.Errorf("unmount disk %s: %w", filepath.Base(dir), err))
			continue
		}
		delete(s.disks, dir)
	}
	return failed
}

// Source returns what is to be mounted for m: the volume's directory, or the path m.SubPath in it, resolved so that no
// symbolic link leads out of the volume. A missing one becomes a directory where the volume can be written.
func (s *Set) Source(m wire.Mount) (string, error) {
	s.mu.Lock()
	v, ok := s.volumes[m.Volume]
	s.mu.Unlock()
	if !ok || v.Kind == wire.VolumeDevice {
		return "", fmt.Errorf("%w: %q that could be mounted", ErrNotFound, m.Volume)
	}
	dir := s.dir(v)
	if m.SubPath == "" {
		return dir, nil
	}
	if err := checkPath(m.SubPath); err != nil {
		return "", err
	}
	source, err := Resolve(dir, m.SubPath)
	if errors.Is(err, os.ErrNotExist) && v.Kind != wire.VolumeFiles {
		if err := makeLike(dir, m.SubPath); err != nil {
			return "", fmt.Errorf("make %s in volume %s: %w", m.SubPath, m.Volume, err)
		}
		source, err = Resolve(dir, m.SubPath)
	}
	if err != nil {
		return "", fmt.Errorf("find %s in volume %s: %w", m.SubPath, m.Volume, err)
	}
	return source, nil
}

// Device returns the device of a volume that is one, and whether it is only to be read.
func (s *Set) Device(volume string) (path string, readOnly bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.volumes[volume]
	if !ok || v.Kind != wire.VolumeDevice {
		return "", false, fmt.Errorf("%w: %q of kind %s", ErrNotFound, volume, wire.VolumeDevice)
	}
	return s.devices[volume], v.ReadOnly, nil
}

// makeLike makes the directory name in dir, with the mode of dir: whoever may write to the volume may write to it.
func makeLike(dir, name string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	return mkdirAll(dir, name, info.Mode())
}

// checkPath refuses what is not a relative path below a directory.
func checkPath(p string) error {
	if !filepath.IsLocal(p) || filepath.Clean(p) == "." || strings.ContainsRune(p, 0) || len(p) > unix.PathMax {
		return fmt.Errorf("path %q is %w", p, ErrInvalid)
	}
	return nil
}
