package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestTheExitCodeSaysWhetherTheUserErred(t *testing.T) {
	tests := map[string]struct {
		args []string
		code int
		says string
	}{
		"done":    {[]string{"--version"}, 0, ""},
		"failed":  {[]string{"podvm", "ls", "--dir", "/none"}, 1, "vic: state directory /none is not there"},
		"misused": {[]string{"up", "--fly"}, 2, "vic: unknown flag: --fly (see vic up --help)"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			assert.Equal(t, tt.code, run(t.Context(), tt.args, &stderr))
			assert.Contains(t, stderr.String(), tt.says)
			assert.Equal(t, tt.code == 0, stderr.Len() == 0, "it is said once, and only then")
		})
	}
}
