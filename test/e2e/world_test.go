//go:build e2e

package e2e_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// world is everything on this machine that belongs to the node of one state directory, by name: its files, the processes
// that use them, the links and rules of its network, its control groups. Two of them, taken before and after, show what
// was left behind.
type world map[string]bool

// look takes the world of the cluster's state directory. What the control plane has is not in it.
func (c *cluster) look(t *testing.T) world {
	t.Helper()
	w := world{}
	w.addFiles(t, c.dir)
	w.addProcesses(t, c.dir)
	w.addNetwork(t, filepath.Join(c.dir, "vch"))
	w.addControlGroups(t, filepath.Join(c.dir, "vch"))
	return w
}

// beyond is what w has and other has not.
func (w world) beyond(other world) []string {
	more := maps.Clone(w)
	for name := range other {
		delete(more, name)
	}
	return slices.Sorted(maps.Keys(more))
}

func (w world) add(kind, name string) { w[kind+" "+name] = true }

// certificate is a file of the node's certificate store, whose name has the time of its making.
var certificate = regexp.MustCompile(`^node/.*\.pem$`)

func (w world) addFiles(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it went meanwhile
		}
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		switch {
		case err != nil:
			return err
		case name == "controlplane":
			return filepath.SkipDir
		case certificate.MatchString(name):
			return nil
		}
		w.add(e.Type().String(), name)
		return nil
	})
	require.NoError(t, err)
}

// addProcesses finds who has a file of the directory open; vic itself has other numbers after each start, and is left out.
func (w world) addProcesses(t *testing.T, dir string) {
	t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*")
	require.NoError(t, err)
	for _, p := range processes {
		program, err := os.Readlink(filepath.Join(p, "exe"))
		if err != nil || strings.HasPrefix(program, bin("vic")) {
			continue // it is gone, or ours
		}
		if uses(p, dir) {
			w.add("process", filepath.Base(program)+" "+filepath.Base(p))
		}
	}
}

func uses(process, dir string) bool {
	open, _ := filepath.Glob(filepath.Join(process, "fd", "*")) // the pattern is a good one
	for _, fd := range open {
		if path, err := os.Readlink(fd); err == nil && strings.HasPrefix(path, dir+"/") {
			return true
		}
	}
	return false
}

// addNetwork takes the links of the VCH's namespace and the rules of its tables.
func (w world) addNetwork(t *testing.T, vch string) {
	t.Helper()
	namespace := "vic-" + hash(vch)
	for link := range strings.SplitSeq(machine(t, "ip", "-n", namespace, "-br", "link"), "\n") {
		name, _, _ := strings.Cut(link, " ")
		w.add("link", name)
	}
	rules := machine(t, "ip", "netns", "exec", namespace, "nft", "list", "ruleset") + machine(t, "nft", "list", "table", "ip", namespace)
	for i, rule := range strings.Split(rules, "\n") {
		// Elements stand on lines of their own, behind each other.
		for element := range strings.SplitSeq(strings.TrimPrefix(strings.TrimSpace(rule), "elements = {"), ",\n") {
			if strings.Contains(element, " . ") || i == 0 {
				w.add("rule", strings.TrimSpace(element))
			}
		}
	}
}

func (w world) addControlGroups(t *testing.T, vch string) {
	t.Helper()
	err := filepath.WalkDir("/sys/fs/cgroup", func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() && strings.Contains(path, "/vic-"+hash(vch)) {
			w.add("control group", path)
		}
		return nil // groups of others come and go
	})
	require.NoError(t, err)
}

// hash is how names of the network and of control groups derive from the VCH's directory.
func hash(vch string) string {
	sum := sha256.Sum256([]byte(vch))
	return hex.EncodeToString(sum[:4])
}

// machine runs a program of the machine and returns what it says.
func machine(t *testing.T, program string, args ...string) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%s %s: %s", program, strings.Join(args, " "), &stderr)
	return string(out)
}

// openFiles is how many files vic has open.
func (c *cluster) openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(c.cmd.Process.Pid), "fd"))
	require.NoError(t, err)
	return len(entries)
}

// metric reads one number of the node's own metrics.
func (c *cluster) metric(t *testing.T, node, name string) float64 {
	t.Helper()
	text := c.kubectl(t, "get", "--raw", fmt.Sprintf("/api/v1/nodes/%s/proxy/metrics", node))
	value := regexp.MustCompile(`(?m)^` + name + ` (.*)$`).FindStringSubmatch(text)
	require.Len(t, value, 2, "%s is not in %s", name, text)
	number, err := strconv.ParseFloat(value[1], 64)
	require.NoError(t, err)
	return number
}
