package volume

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/virtual-kubelet/vic/guest/wire"
)

const (
	dataLink  = "..data"
	dataTemp  = "..data_tmp"
	dirPrefix = "..v_"
	maxFiles  = 10_000
)

// Put replaces the content of a volume of files in one step.
func (s *Set) Put(f wire.Files) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.volumes[f.Volume]
	if !ok || v.Kind != wire.VolumeFiles {
		return fmt.Errorf("%w: %q of kind %s", ErrNotFound, f.Volume, wire.VolumeFiles)
	}
	if len(f.Files) > maxFiles {
		return fmt.Errorf("%d files in volume %s are %w", len(f.Files), f.Volume, ErrInvalid)
	}
	for _, file := range f.Files {
		if err := checkPath(file.Path); err != nil {
			return err
		}
		if strings.HasPrefix(file.Path, "..") { // a name of ours
			return fmt.Errorf("path %q is %w", file.Path, ErrInvalid)
		}
	}
	if err := s.replace(v, f.Files); err != nil {
		return fmt.Errorf("write volume %s: %w", f.Volume, err)
	}
	return nil
}

func (s *Set) replace(v wire.Volume, files []wire.File) error {
	dir := s.dir(v)
	former, err := os.Readlink(filepath.Join(dir, dataLink))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	next, err := os.MkdirTemp(dir, dirPrefix)
	if err != nil {
		return err
	}
	if err := errors.Join(write(next, files), s.own(v, next)); err != nil {
		return errors.Join(err, os.RemoveAll(next))
	}
	temp := filepath.Join(dir, dataTemp)
	if err := errors.Join(ignoreMissing(os.Remove(temp)), os.Symlink(filepath.Base(next), temp)); err != nil {
		return err
	}
	if err := os.Rename(temp, filepath.Join(dir, dataLink)); err != nil {
		return err
	}
	if err := relink(dir, files); err != nil {
		return err
	}
	if former == "" {
		return nil
	}
	return os.RemoveAll(filepath.Join(dir, filepath.Base(former)))
}

// write makes the files below dir, with their owners, and with their modes whatever the umask is.
func write(dir string, files []wire.File) error {
	if err := os.Chmod(dir, 0o755); err != nil { // files have modes of their own
		return err
	}
	for _, f := range files {
		path := filepath.Join(dir, f.Path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { // files have modes of their own
			return err
		}
		if err := os.WriteFile(path, f.Data, 0o600); err != nil {
			return err
		}
		if f.User != nil {
			if err := os.Lchown(path, int(*f.User), -1); err != nil {
				return err
			}
		}
		if err := os.Chmod(path, os.FileMode(f.Mode).Perm()); err != nil {
			return err
		}
	}
	return nil
}

// relink makes the links that users see, one for each first element of a path, and removes those that lead nowhere.
func relink(dir string, files []wire.File) error {
	wanted := map[string]bool{}
	for _, f := range files {
		first, _, _ := strings.Cut(filepath.Clean(f.Path), "/")
		wanted[first] = true
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "..") {
			continue
		}
		if !wanted[e.Name()] {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
		delete(wanted, e.Name())
	}
	for name := range wanted {
		if err := os.Symlink(filepath.Join(dataLink, name), filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
