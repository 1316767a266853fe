package cli_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/cmd/vic/internal/cli"
)

func TestAConsoleCannotSteerTheTerminal(t *testing.T) {
	tests := map[string]struct{ wrote, shown string }{
		"text":                               {"one\n\ttwo ü\n", "one\n\ttwo ü\n"},
		"carriage returns":                   {"real\rfake\r\n", "realfake\n"},
		"colours":                            {"\x1b[1;31mred\x1b[0m", "red"},
		"a cleared screen":                   {"\x1b[2J\x1b[Hhello", "hello"},
		"a window title":                     {"\x1b]0;owned\x07after", "after"},
		"a window title with another end":    {"\x1b]0;owned\x1b\\after", "after"},
		"a device control string":            {"\x1bP$q\x1b\\x", "x"},
		"a sequence that never ends":         {"\x1b]0;all\nis\nshown", "\nis\nshown"},
		"a reset":                            {"\x1bcx", "x"},
		"backspaces, bells, deletes":         {"a\x08b\x07c\x7fd", "abcd"},
		"8-bit controls":                     {"a\u009b31mb\u0085c", "a31mbc"},
		"characters that turn text around":   {"a\u202eb\u2066c", "abc"},
		"what is not text":                   {"a\xff\xfeb", "a\uFFFD\uFFFDb"},
		"escapes after escapes":              {"\x1b\x1b\x1b[31mx", "x"},
		"a sequence that another interrupts": {"\x1b]0;\x1b[31mx", "x"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var whole, pieces bytes.Buffer
			_, err := cli.NewPlainWriter(&whole).Write([]byte(tt.wrote))
			require.NoError(t, err)
			assert.Equal(t, tt.shown, whole.String())
			p := cli.NewPlainWriter(&pieces)
			for i := range len(tt.wrote) {
				n, err := p.Write([]byte{tt.wrote[i]})
				require.NoError(t, err)
				require.Equal(t, 1, n)
			}
			assert.Equal(t, tt.shown, pieces.String(), "in whatever pieces it comes")
		})
	}
	assert.Equal(t, "a b", cli.Plain("a\n\x1b[2Jb"))
}
