package qemu

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestWordsOfAGuestOrOfQEMUSteerNoTerminal(t *testing.T) {
	tests := map[string]struct {
		text string
		most int
		want string
	}{
		"words stay":                          {"kernel panicked: größe 5 < 7", 100, "kernel panicked: größe 5 < 7"},
		"control characters go":               {"a\x1b[2J\r\nb\x7f", 100, "a[2Jb"},
		"also those that take two bytes":      {"a\u0085b\u009b2Jc", 100, "ab2Jc"},
		"and what changes the order of words": {"a\u202eb", 100, "ab"},
		"and what is no text":                 {"a\xffb", 100, "ab"},
		"long ones end at a whole character":  {"ééé", 3, "é"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { assert.Equal(t, tt.want, printable(tt.text, tt.most)) })
	}
}
