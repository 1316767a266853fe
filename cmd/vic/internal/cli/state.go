package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/pflag"

	"github.com/virtual-kubelet/vic/node/statedir"
)

// DefaultDir is the state directory of `vic up` and of the commands that look into it; empty where the user has no home.
func DefaultDir() string {
	path, err := statedir.DefaultPath()
	if err != nil {
		return ""
	}
	return path
}

// AddDirFlag lets users name a state directory.
func AddDirFlag(flags *pflag.FlagSet, dir *string) {
	flags.StringVar(dir, "dir", DefaultDir(), "state directory")
}

// OpenExisting names a state directory that must be there.
func OpenExisting(path string) (*statedir.Dir, error) {
	state, err := statedir.At(path)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(state.Path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("state directory %s is not there (--dir; `vic up` makes it)", state.Path)
	}
	return state, nil
}

// MakeState makes a state directory where there is none, without its lock.
func MakeState(path string) (*statedir.Dir, error) {
	state, err := statedir.At(path)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(state.Path, 0o700); err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	return state, nil
}
