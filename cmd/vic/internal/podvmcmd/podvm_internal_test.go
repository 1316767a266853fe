package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/portlayer"
)

func podVMOf(namespace, name, uid string) portlayer.VM {
	return portlayer.VM{Spec: portlayer.Spec{ID: uid, Owner: portlayer.Owner{Kind: "Pod", UID: uid, Namespace: namespace, Name: name}}}
}

func TestChoosePodVM(t *testing.T) {
	vms := []portlayer.VM{
		podVMOf("default", "web", "uid-1"), podVMOf("other", "web", "uid-2"), podVMOf("default", "db", "uid-3"),
		podVMOf("default", "twin", "uid-4"), podVMOf("default", "twin", "uid-5"),
	}
	tests := map[string]struct{ name, uid, says string }{
		"by UID":                         {"uid-2", "uid-2", ""},
		"by a name that only one has":    {"db", "uid-3", ""},
		"by namespace and name":          {"other/web", "uid-2", ""},
		"a name that several have":       {"web", "", "default/web uid-1, other/web uid-2"},
		"a pod that was made anew":       {"default/twin", "", "default/twin uid-4, default/twin uid-5"},
		"a name that none has":           {"none", "", `no pod VM "none"`},
		"a namespace that does not fit":  {"other/db", "", `no pod VM "other/db"`},
		"an empty name":                  {"", "", `no pod VM ""`},
		"a path instead of a name":       {"../../etc", "", "no pod VM"},
		"a namespace without a pod name": {"default/", "", "no pod VM"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			vm, err := choosePodVM(vms, tt.name)
			if tt.says != "" {
				require.ErrorContains(t, err, tt.says)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, tt.uid, vm.ID())
		})
	}
}

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
		"what is no text":                    {"a\xff\xfeb", "a\uFFFD\uFFFDb"},
		"escapes after escapes":              {"\x1b\x1b\x1b[31mx", "x"},
		"a sequence that another interrupts": {"\x1b]0;\x1b[31mx", "x"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var whole, pieces bytes.Buffer
			_, err := (&plainWriter{w: &whole}).Write([]byte(tt.wrote))
			require.NoError(t, err)
			assert.Equal(t, tt.shown, whole.String())
			p := &plainWriter{w: &pieces}
			for i := range len(tt.wrote) {
				n, err := p.Write([]byte{tt.wrote[i]})
				require.NoError(t, err)
				require.Equal(t, 1, n)
			}
			assert.Equal(t, tt.shown, pieces.String(), "in whatever pieces it comes")
		})
	}
	assert.Equal(t, "a b", plain("a\n\x1b[2Jb"))
}

func TestLastLines(t *testing.T) {
	const text = "one\ntwo\nthree\n"
	tests := map[string]struct {
		text string
		n    int
		want string
	}{
		"all":                         {text, -1, text},
		"none":                        {text, 0, ""},
		"one":                         {text, 1, "three\n"},
		"two":                         {text, 2, "two\nthree\n"},
		"as many as there are":        {text, 3, text},
		"more than there are":         {text, 9, text},
		"one that has not ended":      {"one\ntwo", 1, "two"},
		"none of one that runs":       {"one\ntwo", 0, ""},
		"of nothing":                  {"", 3, ""},
		"empty ones":                  {"\n\n\n", 2, "\n\n"},
		"one of many empty ones":      {strings.Repeat("\n", 5), 1, "\n"},
		"of a line without a newline": {"one", 1, "one"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, tt.want, string(lastLines([]byte(tt.text), tt.n)))
		})
	}
}
