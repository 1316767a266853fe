package guestimage

import (
	"debug/elf"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// addProgram puts the program at source (a path below root) into a as target, with its loader and the libraries that
// it is linked to.
func addProgram(a archive, root, source, target string) error {
	p, err := resolveIn(root, source)
	if err != nil {
		return fmt.Errorf("add program %s: %w", source, err)
	}
	b, err := os.ReadFile(p)
	if err != nil {
		return fmt.Errorf("add program %s: %w", source, err)
	}
	a.file(target, 0o755, b)
	if err := addLibraries(a, root, p); err != nil {
		return fmt.Errorf("add program %s: %w", source, err)
	}
	return nil
}

// addLibraries adds what the ELF file names as its loader and its libraries, and so on below them.
func addLibraries(a archive, root, file string) error {
	f, err := elf.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	needed, err := f.ImportedLibraries()
	if err != nil {
		return err
	}
	for _, soname := range needed {
		found, err := findLibrary(root, soname)
		if err != nil {
			return fmt.Errorf("%s needs %w", filepath.Base(file), err)
		}
		if err := addLibrary(a, root, found); err != nil {
			return err
		}
	}
	if interp := f.Section(".interp"); interp != nil {
		b, err := interp.Data()
		if err != nil {
			return err
		}
		return addLibrary(a, root, strings.TrimRight(string(b), "\x00"))
	}
	return nil
}

// addLibrary adds the library at name, under that name, once.
func addLibrary(a archive, root, name string) error {
	key := strings.TrimPrefix(path.Clean(name), "/")
	if _, ok := a[key]; ok {
		return nil
	}
	p, err := resolveIn(root, name)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(p)
	if err != nil {
		return err
	}
	a.file(key, 0o755, b)
	return addLibraries(a, root, p)
}

// findLibrary looks where Debian's loader looks: the directories of its one architecture.
func findLibrary(root, soname string) (string, error) {
	for _, pattern := range []string{"lib/*-linux-gnu", "usr/lib/*-linux-gnu", "lib", "usr/lib", "lib64"} {
		found, err := filepath.Glob(filepath.Join(root, pattern, soname))
		if err == nil && len(found) > 0 {
			return strings.TrimPrefix(found[0], root), nil
		}
	}
	return "", fmt.Errorf("library %s, which no package brings", soname)
}

// resolveIn follows symbolic links at the end of name as if root were "/".
func resolveIn(root, name string) (string, error) {
	const links = 10
	for range links {
		p := filepath.Join(root, path.Clean("/"+name))
		fi, err := os.Lstat(p)
		if err != nil {
			return "", err
		}
		if fi.Mode()&os.ModeSymlink == 0 {
			return p, nil
		}
		target, err := os.Readlink(p)
		if err != nil {
			return "", err
		}
		if !path.IsAbs(target) {
			target = path.Join(path.Dir(name), target)
		}
		name = target
	}
	return "", fmt.Errorf("%s: too many symbolic links", name)
}
