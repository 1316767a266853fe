//go:build e2e

package e2e_test

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/tools/clientcmd"
)

// elsewhere are the commands of README.md that startQuickly does not run, by their beginnings, each with what does.
var elsewhere = map[string]string{
	"make run":                       "build/test.sh makes the programs, and TestMain runs vic up",
	"make build":                     "build/test.sh",
	"make test":                      "the gate",
	"make check":                     "the gate",
	"make guest-image":               "build/test.sh",
	"bin/vic vch create":             "TestPodsOnVSphere",
	"bin/vic vch check":              "TestPodsOnVSphere",
	"bin/vic node":                   "TestPodsOnVSphere",
	"helm install":                   "TestVirtualContainerHosts, with helm template",
	"bin/vic up --vsphere-simulator": "TestMain with -vsphere",
}

func TestEveryCommandOfTheREADMEIsRun(t *testing.T) {
	quick := map[string]bool{}
	for _, s := range readme(t, quickStart) {
		quick[s.command] = true
	}
	unused := maps.Clone(elsewhere)
	for _, s := range readme(t, "") {
		run := quick[s.command]
		for begins := range elsewhere {
			if strings.HasPrefix(s.command, begins) {
				run = true
				delete(unused, begins)
			}
		}
		assert.True(t, run, "no test runs: %s", s.command)
	}
	assert.Empty(t, unused, "README.md has no such commands")
}

// quickStart is the heading of the commands that a test types as they are.
const quickStart = "\n## Quick start"

// step is a command of a document with the lines that it prints there.
type step struct {
	command string
	prints  []string
}

// readme returns the steps of a section of README.md, or of all sections: what its fenced blocks have behind "$ ".
func readme(t *testing.T, section string) []step {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	_, from, found := strings.Cut(string(text), section)
	require.True(t, found, section)
	if section != "" {
		from, _, _ = strings.Cut(from, "\n## ")
	}
	var steps []step
	for i, block := range strings.Split(from, "```") {
		if i%2 == 0 {
			continue
		}
		_, block, _ = strings.Cut(block, "\n") // behind the name of its language
		for line := range strings.Lines(block) {
			line = strings.TrimRight(line, "\n")
			if command, is := strings.CutPrefix(line, "$ "); is {
				steps = append(steps, step{command: command})
			} else if len(steps) > 0 && line != "" {
				last := &steps[len(steps)-1]
				last.prints = append(last.prints, line)
			}
		}
	}
	return steps
}

// startQuickly types the commands of README.md's quick start in a namespace, and requires that they print what it shows,
// but for addresses, times and the like.
func (c *cluster) startQuickly(t *testing.T, namespace string) {
	t.Helper()
	config, err := clientcmd.LoadFromFile(c.kubeconfig())
	require.NoError(t, err)
	config.Contexts[config.CurrentContext].Namespace = namespace
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, clientcmd.WriteToFile(*config, kubeconfig))

	addresses := strings.NewReplacer()
	for _, s := range readme(t, quickStart) {
		if s.command == "make run" {
			c.requireAnnounced(t, s.prints)
			continue
		}
		command := addresses.Replace(s.command)
		c.eventually(t, s.command, func(ctx context.Context) (bool, string) {
			cmd := exec.CommandContext(ctx, "sh", "-c", command)
			cmd.Dir = "../.."
			cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "VIC_DIR="+c.dir)
			out, err := cmd.CombinedOutput()
			addresses = addressesOf(s.prints, string(out))
			return err == nil && shows(string(out), namespace, s.prints), string(out)
		})
	}
}

// requireAnnounced holds what vic up said when it was Ready against what make run prints in README.md.
func (c *cluster) requireAnnounced(t *testing.T, want []string) {
	t.Helper()
	require.NotEmpty(t, want)
	assert.Regexp(t, `node vic-local is Ready: \d+ CPUs, [\d.]+ GiB; pods run on .*QEMU \(\w+\)`, c.out.String())
	assert.Regexp(t, `^node vic-local is Ready: \d+ CPUs, [\d.]+ GiB; pods run on QEMU \(\w+\)$`, want[0])
	for _, line := range want[1:] {
		assert.Contains(t, c.out.String(), strings.ReplaceAll(line, "/root/.local/state/vic", c.dir))
	}
}

var (
	address  = regexp.MustCompile(`\d+\.\d+\.\d+\.\d+`)
	variable = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f…-]+|\b(?:\d+[dhms])+\b|\b\d{2,}\b`)
)

// shows is true when all lines that were wanted are among those that came, as far as they are the same every time.
func shows(out, namespace string, want []string) bool {
	came := map[string]bool{}
	for line := range strings.Lines(out) {
		came[constant(strings.ReplaceAll(line, namespace, "default"))] = true
	}
	for _, line := range want {
		if !came[constant(line)] {
			return false
		}
	}
	return true
}

func constant(line string) string {
	line = variable.ReplaceAllString(address.ReplaceAllString(line, "ADDRESS"), "N")
	return strings.Join(strings.Fields(line), " ")
}

// addressesOf replaces the addresses of README.md by those of here, by what their lines begin with.
func addressesOf(want []string, out string) *strings.Replacer {
	var pairs []string
	for _, line := range want {
		for here := range strings.Lines(out) {
			if a, b := address.FindString(line), address.FindString(here); a != "" && b != "" && constant(line) == constant(here) &&
				strings.Fields(line)[0] == strings.Fields(here)[0] {
				pairs = append(pairs, a, b)
			}
		}
	}
	return strings.NewReplacer(pairs...)
}
