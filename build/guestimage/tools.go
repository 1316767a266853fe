package guestimage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
)

// tool is a program that a build runs, and the Debian package that brings it.
type tool struct{ name, pkg string }

var tools = []tool{
	{"apt-cache", "apt"},
	{"apt-get", "apt"},
	{"dpkg-deb", "dpkg"},
	{"depmod", "kmod"},
}

// isoTools are those that an ISO needs besides.
var isoTools = []tool{
	{"xorriso", "xorriso"},
	{"mformat", "mtools"},
	{"mmd", "mtools"},
	{"mcopy", "mtools"},
}

// ErrMissingTools says that a program which the build needs is not installed.
var ErrMissingTools = errors.New("programs are missing")

// checkTools returns one error that names every missing program.
func checkTools(iso bool) error {
	needed := tools
	if iso {
		needed = slices.Concat(tools, isoTools)
	}
	var missing []string
	for _, t := range needed {
		if _, err := lookPath(t.name); err != nil {
			missing = append(missing, fmt.Sprintf("%s (apt-get install %s)", t.name, t.pkg))
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%w: %s", ErrMissingTools, strings.Join(missing, ", "))
	}
	return nil
}

// lookPath finds name in PATH, and in the directories of system programs that an unprivileged user's PATH lacks.
func lookPath(name string) (string, error) {
	p, err := exec.LookPath(name)
	if err == nil {
		return p, nil
	}
	for _, dir := range []string{"/usr/sbin/", "/sbin/"} {
		if p, err := exec.LookPath(dir + name); err == nil {
			return p, nil
		}
	}
	return "", err
}

// command runs name in dir and returns its standard output. An error carries the end of its standard error.
func command(ctx context.Context, dir, name string, args ...string) (string, error) {
	p, err := lookPath(name)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, p, args...)
	cmd.Dir = dir
	// What writes dates takes this one, so that the same input gives the same output.
	cmd.Env = append(cmd.Environ(), "LC_ALL=C", "SOURCE_DATE_EPOCH="+isoDate)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, tail(stderr.String()))
	}
	return stdout.String(), nil
}

// tail is the end of a program's output, on one line.
func tail(s string) string {
	const limit = 500
	s = strings.Join(strings.Fields(s), " ")
	return s[max(0, len(s)-limit):]
}
