package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// root is the repository, from here.
const root = "../.."

// columns is how long a line of a document may be.
const columns = 140

// documents returns the text of every Markdown file of the repository, by its path from root.
func documents(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := filepath.ToSlash(strings.TrimPrefix(path, root+"/"))
		if d.IsDir() && (slices.Contains(notOurs, name) || strings.HasPrefix(name, ".") && path != root) {
			return filepath.SkipDir
		}
		if filepath.Ext(path) != ".md" {
			return nil
		}
		text, err := os.ReadFile(path)
		all[name] = string(text)
		return err
	})
	require.NoError(t, err)
	require.Contains(t, all, "README.md")
	return all
}

// notOurs are folders that git ignores.
var notOurs = []string{"bin", "vendor", "controlplane/vendor", "tools/vendor", "tools/dashboard/vendor"}

// link finds the targets of Markdown's links and images.
var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

func TestEveryLinkLeadsSomewhere(t *testing.T) {
	all := documents(t)
	for name, text := range all {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			target, heading, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			path := name
			if target != "" {
				path = filepath.Join(filepath.Dir(name), target)
			}
			_, err := os.Stat(filepath.Join(root, path))
			require.NoError(t, err, "%s links to %s", name, m[1])
			if heading != "" {
				assert.Contains(t, anchors(all[path]), heading, "%s links to %s", name, m[1])
			}
		}
	}
}

// anchors are what GitHub makes of a document's headings.
func anchors(text string) []string {
	var all []string
	for line := range strings.Lines(text) {
		if heading, is := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); is && line[0] == '#' {
			all = append(all, strings.Map(func(r rune) rune {
				switch {
				case r == ' ':
					return '-'
				case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
					return unicode.ToLower(r)
				}
				return -1
			}, strings.TrimSpace(heading)))
		}
	}
	return all
}

// folder finds the top-level folders that a table's first column names.
var folder = regexp.MustCompile("`([a-z]+)/`")

func TestTheREADMEListsEveryFolder(t *testing.T) {
	_, section, found := strings.Cut(documents(t)["README.md"], "\n## How it is built")
	require.True(t, found)
	var listed []string
	for line := range strings.Lines(section) {
		if first, _, is := strings.Cut(strings.TrimPrefix(line, "|"), "|"); is && line[0] == '|' {
			for _, m := range folder.FindAllStringSubmatch(first, -1) {
				listed = append(listed, m[1])
			}
		}
	}
	entries, err := os.ReadDir(root)
	require.NoError(t, err)
	var there []string
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") && !slices.Contains(notOurs, e.Name()) {
			there = append(there, e.Name())
		}
	}
	assert.ElementsMatch(t, there, listed)
}

func TestNoLineOfADocumentIsTooLong(t *testing.T) {
	for name, text := range documents(t) {
		if strings.Contains(text, "do not edit") || strings.Contains(text, "page is generated") {
			continue // generated tables
		}
		number := 0
		for line := range strings.Lines(text) {
			number++
			assert.LessOrEqual(t, utf8.RuneCountInString(line)-1, columns, "%s:%d", name, number)
		}
	}
}
