package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	root = "/sys/fs/cgroup"
	// processes of a group, and what it passes on to the groups in it (cgroups(7)).
	procsFile   = "cgroup.procs"
	subtreeFile = "cgroup.subtree_control"
)

// controllers are those that we use.
var controllers = []string{"memory", "cpu", "pids"}

// tree is where control groups are mounted, and which of them this process is in.
type tree struct {
	root string
	own  []membership
}

// membership is a line of /proc/PID/cgroup: a group that a process is in.
type membership struct {
	// mount is the directory of the group's hierarchy below the root: its controllers, or empty in version 2.
	mount, path string
}

func hostTree() (tree, error) {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return tree{}, fmt.Errorf("find control groups: %w", err)
	}
	return tree{root, parse(string(own))}, nil
}

func parse(text string) []membership {
	var all []membership
	for line := range strings.Lines(text) {
		if parts := strings.SplitN(strings.TrimSpace(line), ":", 3); len(parts) == 3 {
			all = append(all, membership{parts[1], parts[2]})
		}
	}
	return all
}

// find returns the group that has a controller: one of version 1, else that of version 2.
func find(in []membership, controller string) (m membership, v2 bool, err error) {
	i := slices.IndexFunc(in, func(m membership) bool { return slices.Contains(strings.Split(m.mount, ","), controller) })
	if i < 0 {
		i, v2 = slices.IndexFunc(in, func(m membership) bool { return m.mount == "" }), true
	}
	if i < 0 {
		return membership{}, false, errors.New("there are no control groups")
	}
	return in[i], v2, nil
}

// join puts a process into its groups. What one controller lacks keeps no other from it.
func (t tree) join(g Group, pid int) error {
	var failed error
	for _, controller := range controllers {
		if err := t.joinOne(g, pid, controller); err != nil {
			failed = errors.Join(failed, fmt.Errorf("control group for %s: %w", controller, err))
		}
	}
	return failed
}

func (t tree) joinOne(g Group, pid int, controller string) error {
	m, v2, err := find(t.own, controller)
	if err != nil {
		return err
	}
	settings := g.settings(controller, v2)
	if settings == nil {
		return nil
	}
	all, dir, err := t.make(m, v2, g, controller)
	if err != nil {
		return err
	}
	for _, s := range settings {
		if err := s.write(dir); err != nil {
			_, _ = os.Remove(dir), os.Remove(all) // they stay where they are in use
			return err
		}
	}
	if controller == "cpu" {
		if err := allVMs().settings(controller, v2)[0].write(all); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, procsFile), []byte(strconv.Itoa(pid)), 0)
}

// make makes the group of all VMs of a VCH and that of one. In version 1 they are below our own; in version 2, where a group
// with processes can have no children that are limited, beside it.
func (t tree) make(m membership, v2 bool, g Group, controller string) (all, dir string, err error) {
	parent := filepath.Join(t.root, m.mount, m.path)
	if v2 {
		parent = filepath.Join(t.root, path.Dir(m.path))
	}
	if _, err := os.Stat(filepath.Join(parent, procsFile)); err != nil {
		return "", "", err
	}
	dir = filepath.Join(parent, ownGroup(g.VCH, g.UID))
	all = filepath.Dir(dir)
	if err := os.MkdirAll(all, 0o750); err != nil {
		return "", "", err
	}
	if v2 {
		err = t.passOn(all, controller)
	}
	if err == nil {
		err = os.MkdirAll(dir, 0o750)
	}
	if err != nil {
		_ = os.Remove(all) // fails where a group is in it
	}
	return all, dir, err
}

// passOn has a group of version 2 and all above it pass a controller on to the groups in them. Without that the files of the
// controller are missing there.
func (t tree) passOn(dir, controller string) error {
	below, err := filepath.Rel(t.root, dir)
	if err != nil {
		return err
	}
	at := t.root
	for _, name := range append([]string{"."}, strings.Split(below, string(filepath.Separator))...) {
		at = filepath.Join(at, name)
		file := filepath.Join(at, subtreeFile)
		if text, err := os.ReadFile(file); err == nil && slices.Contains(strings.Fields(string(text)), controller) {
			continue
		}
		if err := os.WriteFile(file, []byte("+"+controller), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// write writes the setting. An optional one that the kernel does not have is left out.
func (s setting) write(dir string) error {
	err := os.WriteFile(filepath.Join(dir, s.file), []byte(strconv.FormatInt(s.value, 10)), 0o600)
	if s.optional && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)) {
		return nil // to make a file is not permitted there
	}
	return err
}

// bounds reports whether the memory of a process that is in those groups is limited by one of these names.
func (t tree) bounds(of string, names ...string) bool {
	m, v2, err := find(parse(of), "memory")
	if err != nil {
		return false
	}
	own := slices.ContainsFunc(names, func(name string) bool { return strings.HasSuffix(m.path, "/"+name) })
	file := "memory.limit_in_bytes"
	if v2 {
		file = "memory.max"
	}
	return own && limited(filepath.Join(t.root, m.mount, m.path, file))
}

// sweep removes the groups of that name below root, and those in them, that have no process.
func sweep(root, name string) {
	var found []string
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == name {
			found = append(found, path)
		}
		return nil // what goes meanwhile is none of ours
	})
	for _, all := range found {
		groups, _ := os.ReadDir(all) // it may be gone
		for _, g := range groups {
			if g.IsDir() {
				_ = os.Remove(filepath.Join(all, g.Name())) // fails where a process is in it
			}
		}
		_ = os.Remove(all) // fails where a group is in it
	}
}
