package logfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// ErrNotFound says that there is no log of that attempt, or no longer.
var ErrNotFound = errors.New("no such log")

// keptAttempts bounds the logs of one container, also when nobody acknowledges them.
const keptAttempts = 8

// Store holds the logs of all containers of a pod in one directory.
type Store struct {
	dir string

	mu    sync.Mutex // guards files
	files map[key]*File
}

type key struct {
	container string
	attempt   int32
}

// NewStore returns the Store in dir, with the logs that a former boot left there.
func NewStore(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open logs: %w", err)
	}
	s := &Store{dir: dir, files: map[key]*File{}}
	containers, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open logs: %w", err)
	}
	for _, c := range containers {
		attempts, err := s.attempts(c.Name())
		if err != nil {
			return nil, err
		}
		for _, attempt := range attempts {
			f, err := Open(s.path(c.Name(), attempt), wire.MaxLogBytes)
			if err != nil {
				return nil, err
			}
			f.End()
			s.files[key{c.Name(), attempt}] = f
		}
	}
	return s, nil
}

// Create opens the log of an attempt that begins. One of that number from before is continued.
func (s *Store) Create(container string, attempt int32) (*File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := os.MkdirAll(filepath.Join(s.dir, container), 0o700); err != nil {
		return nil, fmt.Errorf("create log: %w", err)
	}
	k := key{container, attempt}
	if former, ok := s.files[k]; ok {
		_ = former.Close() // its readers end and come back
		delete(s.files, k)
	}
	f, err := Open(s.path(container, attempt), wire.MaxLogBytes)
	if err != nil {
		return nil, err
	}
	s.files[k] = f
	return f, s.pruneLocked(container)
}

// Get returns the log of an attempt, or ErrNotFound.
func (s *Store) Get(container string, attempt int32) (*File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.files[key{container, attempt}]
	if !ok {
		return nil, fmt.Errorf("%w: container %q, attempt %d", ErrNotFound, container, attempt)
	}
	return f, nil
}

// Close closes all logs.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for k, f := range s.files {
		errs = append(errs, f.Close())
		delete(s.files, k)
	}
	return errors.Join(errs...)
}

// pruneLocked removes the oldest logs of container.
func (s *Store) pruneLocked(container string) error {
	attempts, err := s.attempts(container)
	if err != nil {
		return err
	}
	for len(attempts) > keptAttempts {
		k := key{container, attempts[0]}
		attempts = attempts[1:]
		if f, ok := s.files[k]; ok {
			_ = f.Close() // the file goes
			delete(s.files, k)
		}
		if err := os.Remove(s.path(k.container, k.attempt)); err != nil {
			return fmt.Errorf("remove old log: %w", err)
		}
	}
	return nil
}

// attempts lists the attempts of container that have a file, oldest first.
func (s *Store) attempts(container string) ([]int32, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, container))
	if err != nil {
		return nil, fmt.Errorf("list logs: %w", err)
	}
	var attempts []int32
	for _, e := range entries {
		n, err := strconv.ParseInt(strings.TrimSuffix(e.Name(), ".log"), 10, 32)
		if err == nil {
			attempts = append(attempts, int32(n))
		}
	}
	slices.Sort(attempts)
	return attempts, nil
}

func (s *Store) path(container string, attempt int32) string {
	return filepath.Join(s.dir, container, strconv.Itoa(int(attempt))+".log")
}
