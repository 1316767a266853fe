package fakeguest

import (
	"bufio"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// killed is the exit code of a script that was stopped, as of a process that SIGTERM ended.
const killed = 143

// Script returns the arguments that run a script here and in a guest with a shell. The fake guest knows the commands
// "echo WORDS", "echo WORDS >&2", "sleep SECONDS", "cat", "trap 'exit N' TERM" and "exit N", separated by ";".
func Script(script string) []string { return []string{"/bin/sh", "-c", script} }

// run interprets args until it is asked to stop.
func run(args []string, stdio Stdio, stop <-chan struct{}) int32 {
	if len(args) != 3 || args[1] != "-c" {
		return 127
	}
	stopped := int32(killed)
	for command := range strings.SplitSeq(args[2], ";") {
		word, rest, _ := strings.Cut(strings.TrimSpace(command), " ")
		switch word {
		case "echo":
			echo(rest, stdio)
		case "sleep":
			if !sleep(rest, stop) {
				return stopped
			}
		case "cat":
			if !cat(stdio, stop) {
				return stopped
			}
		case "trap":
			if _, err := fmt.Sscanf(rest, "'exit %d' TERM", &stopped); err != nil {
				return 2
			}
		case "exit":
			code, err := strconv.ParseInt(rest, 10, 32)
			if err != nil {
				return 2
			}
			return int32(code)
		default:
			_, _ = fmt.Fprintf(stdio.Err, "sh: %s: not found\n", word) // a lost line is not a failure of the script
			return 127
		}
	}
	return 0
}

func echo(rest string, stdio Stdio) {
	w := stdio.Out
	if text, ok := strings.CutSuffix(rest, " >&2"); ok {
		rest, w = text, stdio.Err
	}
	_, _ = fmt.Fprintln(w, rest) // a lost line is not a failure of the script
}

func sleep(rest string, stop <-chan struct{}) bool {
	seconds, err := strconv.ParseFloat(rest, 64)
	if err != nil {
		return true
	}
	select {
	case <-time.After(time.Duration(seconds * float64(time.Second))):
		return true
	case <-stop:
		return false
	}
}

// cat ends with its input, which is closed when the script is stopped.
func cat(stdio Stdio, stop <-chan struct{}) bool {
	if stdio.In != nil {
		_, _ = bufio.NewReader(stdio.In).WriteTo(stdio.Out) // a lost line is not a failure of the script
	}
	select {
	case <-stop:
		return false
	default:
		return true
	}
}
