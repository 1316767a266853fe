package settingsdoc

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type inner struct {
	Size string `json:"size,omitempty"`
}

type outer struct {
	inner `json:",inline"`
	Name  string `json:"name"`

	path string
}

func TestAKeyHasItsCommentWithoutMarkers(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.go"), []byte(`package a

type outer struct {
	// Name of the VCH,
	// the same | for as long.
	// +optional
	// +kubebuilder:default=""
	Name string
}

type inner struct {
	// Size is a size.
	Size string
}
`), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a_test.go"), []byte("package a\n\ntype outer struct {\n\t// Name is wrong.\n\tName string\n}\n"), 0o600))
	comments, err := readComments(dir)
	require.NoError(t, err)
	var b strings.Builder
	require.NoError(t, writeStruct(&b, reflect.TypeFor[outer](), comments, map[string]any{"size": "5m0s"}))
	assert.Equal(t, "| `size` | `5m` | `size` is a size. |\n| `name` |  | `name` of the VCH, the same \\| for as long. |\n", b.String())
	delete(comments, "inner.Size")
	require.ErrorContains(t, writeStruct(&b, reflect.TypeFor[outer](), comments, nil), "inner.Size has no comment")
	assert.Empty(t, outer{}.path)
}

func TestAFlagIsARow(t *testing.T) {
	flags := pflag.NewFlagSet("x", pflag.ContinueOnError)
	flags.StringP("output", "o", "table", "form of the result: a|b")
	flags.Bool("force", false, "do it all the same")
	flags.Int("tail", -1, "`LINES` from the end")
	flags.Bool("secret", false, "not for people")
	require.NoError(t, flags.MarkHidden("secret"))
	var b strings.Builder
	writeFlags(&b, "`vic x`", flags, true)
	assert.Equal(t, "\n### `vic x`\n\n| flag | default | meaning |\n| --- | --- | --- |\n"+
		"| `--force` |  | do it all the same |\n"+
		"| `-o, --output STRING` | `table` | form of the result: a\\|b |\n"+
		"| `--tail LINES` | `-1` | LINES from the end |\n", b.String(), "no key of a file, where no flag has one")
}

func TestAPageIsNotMadeOfNothing(t *testing.T) {
	_, err := Page(t.TempDir())
	require.ErrorContains(t, err, "has no comment")
	_, err = Page("/none")
	require.ErrorIs(t, err, os.ErrNotExist)
}
