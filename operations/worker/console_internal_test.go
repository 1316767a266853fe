package worker

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestConsoleEnd(t *testing.T) {
	long := strings.Repeat("x", 2*maxConsoleBytes)
	tests := map[string]struct{ console, want string }{
		"nothing":                {"\r\n \x1b\n", "; its console says nothing"},
		"the last lines":         {"a\nb\nc\nd\ne\nf\r\n\n", "; its console ends with: b | c | d | e | f"},
		"no control characters":  {"\x1b[2Jup\x07\u202e\n", "; its console ends with: [2Jup"},
		"no more than an event":  {"a\n" + long, "; its console ends with: " + long[:maxConsoleBytes]},
		"whole lines before one": {long + "\nb\n", "; its console ends with: b"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { assert.Equal(t, tt.want, consoleEnd(tt.console)) })
	}
}
