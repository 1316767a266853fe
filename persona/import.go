package persona

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/distribution/reference"

	"github.com/virtual-kubelet/vic/internal/ctxio"
)

// Import takes in an image from path: an OCI layout, as a folder or a tar archive, or an archive of docker save; archives may
// be compressed. It gets name or, where name is empty, the names in the archive. If it has several images, the one
// called name is taken.
//
// It returns the same errors as Pull, and ErrInvalidName where neither name nor archive says what to call the image.
func (s *Store) Import(ctx context.Context, path, name string) (Image, error) {
	var named reference.Named
	if name != "" {
		var err error
		if named, err = parseName(name); err != nil {
			return Image{}, err
		}
		if _, byDigest := named.(reference.Digested); byDigest {
			return Image{}, fmt.Errorf("%w %q: an import needs a tag, not a digest", ErrInvalidName, name)
		}
	}
	img, err := s.importFrom(ctx, path, named)
	switch {
	case err == nil:
		return img, nil
	case name == "":
		return Image{}, fmt.Errorf("import image from %q: %w", path, err)
	}
	return Image{}, fmt.Errorf("import image %q from %q: %w", name, path, err)
}

func (s *Store) importFrom(ctx context.Context, path string, named reference.Named) (_ Image, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return Image{}, err
	}
	if !info.IsDir() {
		return s.importArchive(ctx, path, named)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return Image{}, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	return s.importFiles(ctx, dirFiles{root}, named)
}

func (s *Store) importArchive(ctx context.Context, path string, named reference.Named) (_ Image, err error) {
	archive, err := os.Open(path)
	if err != nil {
		return Image{}, err
	}
	defer func() { err = errors.Join(err, archive.Close()) }()
	// Members are read by their offset, so a compressed archive has to be unpacked first.
	w, err := lockWorkDir(ctx, filepath.Join(s.work, "import-"+rand.Text()))
	if err != nil {
		return Image{}, err
	}
	defer func() { err = errors.Join(err, w.release()) }()
	plain, err := s.unpackArchive(ctx, archive, w)
	if err != nil {
		return Image{}, err
	}
	defer func() { err = errors.Join(err, plain.Close()) }()
	from, err := indexArchive(ctx, plain, s.limits.Files)
	if err != nil {
		return Image{}, err
	}
	return s.importFiles(ctx, from, named)
}

// unpackArchive returns archive itself, opened once more, or a file in w with what it holds uncompressed.
func (s *Store) unpackArchive(ctx context.Context, archive *os.File, w *workDir) (_ *os.File, err error) {
	r, err := decompress(archive)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if _, compressed := r.(unpacker); !compressed {
		return os.Open(archive.Name())
	}
	plain, err := os.OpenFile(w.file("archive"), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	limit := s.limits.Files.Bytes
	sparse := &sparseFile{file: plain}
	n, err := io.Copy(sparse, ctxio.NewReader(ctx, io.LimitReader(r, limit+1)))
	if err == nil && n > limit {
		err = fmt.Errorf("%w: archive of more than %d bytes", ErrTooLarge, limit)
	}
	if err == nil {
		err = sparse.settle()
	}
	if err != nil {
		return nil, errors.Join(err, plain.Close())
	}
	return plain, nil
}

func (s *Store) importFiles(ctx context.Context, from files, named reference.Named) (Image, error) {
	l := &loader{platform: s.platform, limits: s.limits}
	a, names, err := l.loadFiles(ctx, from, named)
	if err != nil {
		return Image{}, err
	}
	if named != nil {
		names = naming{tags: []string{reference.FamiliarString(named)}}
	}
	if len(names.tags) == 0 {
		return Image{}, fmt.Errorf("%w %q: the archive names no image, so a name must be given", ErrInvalidName, "")
	}
	return s.add(ctx, a, names, func(Progress) {})
}

// loadFiles reads whichever of the two formats there is. Docker writes both into one archive since version 25.
func (l *loader) loadFiles(ctx context.Context, from files, named reference.Named) (*artifact, naming, error) {
	raw, err := readFile(from, "index.json")
	if err == nil {
		return l.loadLayout(ctx, from, raw, named)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, naming{}, err
	}
	raw, err = readFile(from, "manifest.json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, naming{}, fmt.Errorf("%w: neither an OCI layout nor an archive of docker save", ErrInvalidImage)
	}
	if err != nil {
		return nil, naming{}, err
	}
	return l.loadDockerSave(ctx, from, raw, named)
}
