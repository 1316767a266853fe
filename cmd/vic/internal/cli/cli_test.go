package cli_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/cmd/vic/internal/cli"
	"github.com/virtual-kubelet/vic/cmd/vic/internal/clitest"
)

func TestTheFormOfAResultIsCheckedBeforeAnythingElse(t *testing.T) {
	var output string
	var said []string
	newCommand := func() *cobra.Command {
		said = nil
		cmd := &cobra.Command{
			Use: "x", PreRunE: func(*cobra.Command, []string) error { said = append(said, "before"); return nil },
			RunE: func(*cobra.Command, []string) error { said = append(said, output); return nil },
		}
		cli.AddFormFlag(cmd, &output, cli.OutputText, cli.OutputJSON, cli.OutputYAML)
		return cmd
	}
	_, err := clitest.Execute(t, newCommand())
	require.NoError(t, err)
	assert.Equal(t, []string{"before", "text"}, said, "the first is the default")
	_, err = clitest.Execute(t, newCommand(), "-o", "yaml")
	require.NoError(t, err)
	assert.Equal(t, []string{"before", "yaml"}, said)
	_, err = clitest.Execute(t, newCommand(), "-o", "table")
	require.EqualError(t, err, `--output "table" is not one of text, json, yaml`)
	assert.Empty(t, said)
}

func TestAGroupOnlyShowsItsHelp(t *testing.T) {
	group := cli.NewGroup("things", "Work on things", &cobra.Command{Use: "ls", Short: "List them", Run: func(*cobra.Command, []string) {}})
	out, err := clitest.Execute(t, group)
	require.NoError(t, err)
	assert.Contains(t, out, "List them")
	require.EqualError(t, cli.HelpOnly(group, []string{"fly"}), `unknown command "fly" for "things"`)
}

func TestJSONIsIndentedForPeopleToo(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, cli.PrintJSON(&out, map[string]int{"a": 1}))
	assert.Equal(t, "{\n  \"a\": 1\n}\n", out.String())
}

func TestAStateDirectoryIsMadeOnlyWhereThatIsMeant(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "state")
	_, err := cli.OpenExisting(path)
	require.ErrorContains(t, err, path+" is not there (--dir; `vic up` makes it)")
	state, err := cli.MakeState(path)
	require.NoError(t, err)
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	again, err := cli.OpenExisting(path)
	require.NoError(t, err)
	assert.Equal(t, state.Path, again.Path)
	_, err = cli.MakeState(filepath.Join("/dev/null", "state"))
	require.ErrorContains(t, err, "make state directory: ")
}

func TestTheStateDirectoryIsTheUsersOwnByDefault(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", "/state")
	var dir string
	flags := pflag.NewFlagSet("vic", pflag.ContinueOnError)
	cli.AddDirFlag(flags, &dir)
	assert.Equal(t, "/state/vic", dir)
	t.Setenv("XDG_STATE_HOME", "")
	t.Setenv("HOME", "")
	assert.Empty(t, cli.DefaultDir(), "a user without a home has to name one")
}

func TestASizeIsAboveZero(t *testing.T) {
	var s cli.Size
	assert.Empty(t, s.String())
	require.NoError(t, s.Set("512Mi"))
	assert.EqualValues(t, 512<<20, s.Bytes())
	assert.Equal(t, "512Mi", s.String())
	assert.Equal(t, "size", s.Type())
	for _, bad := range []string{"", "0", "-1", "much"} {
		require.ErrorContains(t, s.Set(bad), "is not a size above zero")
	}
	assert.EqualValues(t, 512<<20, s.Bytes(), "what is refused changes nothing")
}

func TestMisuseKeepsItsCause(t *testing.T) {
	err := cli.Misused("--authfile: %w", os.ErrNotExist)
	require.EqualError(t, err, "--authfile: file does not exist")
	require.ErrorIs(t, err, os.ErrNotExist)
}
