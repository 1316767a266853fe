package worker

import (
	"errors"
	"slices"
	"strings"

	"github.com/virtual-kubelet/vic/portlayer"
)

// What an event shows of a console: a kernel's last word may take some lines.
const (
	maxConsoleLines = 5
	maxConsoleBytes = 600
)

// consoleOf is consoleEnd of the console that err brings, and empty where it brings none.
func consoleOf(err error) string {
	if power, ok := errors.AsType[*portlayer.PowerError](err); ok && power.Console != "" {
		return consoleEnd(power.Console)
	}
	if silent, ok := errors.AsType[*portlayer.SilentBootError](err); ok {
		return consoleEnd(silent.Console)
	}
	return ""
}

// consoleEnd has the last lines of a console, as the end of an event's message.
func consoleEnd(console string) string {
	var end []string
	size := 0
	lines := strings.FieldsFunc(console, func(r rune) bool { return r == '\n' || r == '\r' })
	for _, raw := range slices.Backward(lines) {
		line := printable(raw)
		if line == "" {
			continue
		}
		line = line[max(0, len(line)-maxConsoleBytes):]
		if size += len(line); len(end) == maxConsoleLines || size > maxConsoleBytes {
			break
		}
		end = append(end, line)
	}
	if len(end) == 0 {
		return "; its console says nothing"
	}
	slices.Reverse(end)
	return "; its console ends with: " + strings.Join(end, " | ")
}

// printable is a line without what steers terminals: it comes from a VM.
func printable(line string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, line))
}
