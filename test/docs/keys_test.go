package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// keyRow finds the keys in the table of docs/words.md.
var keyRow = regexp.MustCompile("(?m)^\\| `(\\w+)` \\|")

// firstKey is the argument that a log line's first key is, by the name of the function.
var firstKey = map[string]int{"DebugContext": 2, "InfoContext": 2, "WarnContext": 2, "ErrorContext": 2, "Log": 3}

func TestLogLinesHaveTheKeysOfTheList(t *testing.T) {
	_, section, found := strings.Cut(documents(t)["docs/words.md"], "\n## Keys of log lines")
	require.True(t, found)
	unused := map[string]bool{}
	for _, m := range keyRow.FindAllStringSubmatch(section, -1) {
		unused[m[1]] = true
	}
	for key, place := range logKeys(t) {
		_, is := unused[key]
		assert.True(t, is, "%s: log key %q is not in docs/words.md", place, key)
		unused[key] = false
	}
	for key, is := range unused {
		assert.False(t, is, "no log line has the key %q of docs/words.md", key)
	}
}

// logKeys returns the keys of all log lines of the program, each with a place that has it.
func logKeys(t *testing.T) map[string]string {
	t.Helper()
	keys := map[string]string{}
	files := token.NewFileSet()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		name := filepath.ToSlash(strings.TrimPrefix(path, root+"/"))
		switch {
		case err != nil:
			return err
		case d.IsDir() && (slices.Contains(notOurs, name) || slices.Contains([]string{"mocks", "test", "controlplane"}, name)):
			return filepath.SkipDir
		case filepath.Ext(path) != ".go", strings.HasSuffix(path, "_test.go"):
			return nil
		}
		f, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			for _, key := range keysOf(n) {
				keys[key] = name + ":" + strconv.Itoa(files.Position(n.Pos()).Line)
			}
			return true
		})
		return nil
	})
	require.NoError(t, err)
	return keys
}

// keysOf returns the keys of a call that logs or that adds to the logger of a context.
func keysOf(n ast.Node) []string {
	call, is := n.(*ast.CallExpr)
	if !is {
		return nil
	}
	f, is := call.Fun.(*ast.SelectorExpr)
	if !is {
		return nil
	}
	first := firstKey[f.Sel.Name]
	if pkg, is := f.X.(*ast.Ident); is && pkg.Name == "logging" && f.Sel.Name == "With" {
		first = 1
	}
	var keys []string
	for i := first; first > 0 && i < len(call.Args); i += 2 {
		if key, is := call.Args[i].(*ast.BasicLit); is && key.Kind == token.STRING {
			keys = append(keys, strings.Trim(key.Value, "`\""))
		}
	}
	return keys
}
