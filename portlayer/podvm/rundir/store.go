package rundir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/virtual-kubelet/vic/internal/durable"
	"github.com/virtual-kubelet/vic/portlayer"
)

// ErrNotFound says that nothing is kept under that name.
var ErrNotFound = errors.New("not found")

// Config sets a Store up.
type Config struct {
	// Root is the directory that holds one directory a pod. It is made with mode 0700.
	Root string
	// SegmentBytes is when a log's segment is full; the zero value is 10 MiB.
	SegmentBytes int64
	// Segments is how many of an attempt are kept; the zero value is DefaultSegments, and MinSegments are kept at least.
	Segments int
	// Attempts is how many attempts of a container keep their logs; the zero value is 2, which is the least: the current
	// one and the one before, as the kubelet keeps them.
	Attempts int
}

// How many segments of an attempt are kept: the kubelet's default, and a full one with the one being written.
const (
	DefaultSegments = 5
	MinSegments     = 2
)

const (
	defaultSegmentBytes = 10 << 20
	minAttempts         = 2
)

// Store is a directory of run directories. It is safe for concurrent use within one process.
type Store struct {
	config Config

	mu   sync.Mutex // guards dirs
	dirs map[string]*Dir
}

// formatFile says in which form everything below the root is kept.
const formatFile = "format"

// Open makes the root directory where it is missing, and removes what a crash has left half written. *portlayer.FormatError
// for one that another version of this program keeps in another form.
func Open(cfg Config) (*Store, error) {
	if cfg.SegmentBytes == 0 {
		cfg.SegmentBytes = defaultSegmentBytes
	}
	if cfg.Segments == 0 {
		cfg.Segments = DefaultSegments
	}
	cfg.Segments = max(cfg.Segments, MinSegments)
	cfg.Attempts = max(cfg.Attempts, minAttempts)
	if err := os.MkdirAll(cfg.Root, 0o700); err != nil {
		return nil, fmt.Errorf("make run directory: %w", err)
	}
	s := &Store{config: cfg, dirs: map[string]*Dir{}}
	if err := s.checkFormat(); err != nil {
		return nil, err
	}
	ids, err := s.List()
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		_ = durable.Sweep(filepath.Join(cfg.Root, id)) // what stays is never read
	}
	return s, nil
}

// checkFormat refuses run directories of another form, and gives an empty root its form.
func (s *Store) checkFormat() error {
	path := filepath.Join(s.config.Root, formatFile)
	text, err := os.ReadFile(path)
	if err == nil {
		format, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			return fmt.Errorf("read format of run directories: %s: %w", path, err)
		}
		return portlayer.CheckFormat(path, format)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read format of run directories: %w", err)
	}
	kept, err := s.List()
	if err != nil {
		return err
	}
	if len(kept) > 0 {
		return portlayer.CheckFormat(s.config.Root, 0)
	}
	return durable.Write(path, strconv.AppendInt(nil, portlayer.Format, 10), 0o600)
}

// List returns the UIDs of all pods that have a run directory.
func (s *Store) List() ([]string, error) {
	entries, err := os.ReadDir(s.config.Root)
	if err != nil {
		return nil, fmt.Errorf("list run directories: %w", err)
	}
	var uids []string
	for _, e := range entries {
		if e.IsDir() && validName(e.Name()) {
			uids = append(uids, e.Name())
		}
	}
	return uids, nil
}

// Dir returns the run directory of a pod, the same one for every caller. Nothing is made on disk before the first write.
func (s *Store) Dir(uid string) (*Dir, error) {
	if !validName(uid) {
		return nil, fmt.Errorf("pod UID %q cannot name a directory", uid)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if d, ok := s.dirs[uid]; ok {
		return d, nil
	}
	d := &Dir{config: s.config, path: filepath.Join(s.config.Root, uid), logs: map[logKey]*log{}}
	s.dirs[uid] = d
	return d, nil
}

// Remove deletes a pod's run directory and ends whoever reads from it. A missing one is not an error.
func (s *Store) Remove(uid string) error {
	if !validName(uid) {
		return nil
	}
	s.mu.Lock()
	d := s.dirs[uid]
	delete(s.dirs, uid)
	s.mu.Unlock()
	if d != nil {
		d.remove()
	}
	if err := os.RemoveAll(filepath.Join(s.config.Root, uid)); err != nil {
		return fmt.Errorf("remove run directory: %w", err)
	}
	return nil
}

// nameForm holds for pod UIDs and container names; it has neither "/" nor a leading dot.
var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,252}$`)

func validName(name string) bool { return nameForm.MatchString(name) }

// notFound turns a missing file into ErrNotFound.
func notFound(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return err
}
