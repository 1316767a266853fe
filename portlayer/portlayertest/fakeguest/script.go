package fakeguest

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// killed is the exit code of a script that was stopped, as of a process that SIGTERM ended.
const killed = 143

// stdio is what a script reads and writes.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

// Script returns the arguments that run a script here and in a guest with a shell. The fake guest knows the commands
// "echo WORDS", "echo WORDS >&2", "sleep SECONDS", "cat" and "exit N", separated by ";".
func Script(script string) []string { return []string{"/bin/sh", "-c", script} }

// run interprets args until it is asked to stop.
func run(args []string, io stdio, stop <-chan struct{}) int32 {
	if len(args) != 3 || args[1] != "-c" {
		return 127
	}
	for command := range strings.SplitSeq(args[2], ";") {
		word, rest, _ := strings.Cut(strings.TrimSpace(command), " ")
		switch word {
		case "echo":
			echo(rest, io)
		case "sleep":
			if !sleep(rest, stop) {
				return killed
			}
		case "cat":
			cat(io)
		case "exit":
			code, err := strconv.ParseInt(rest, 10, 32)
			if err != nil {
				return 2
			}
			return int32(code)
		default:
			_, _ = fmt.Fprintf(io.err, "sh: %s: not found\n", word) // a lost line is no failure of the script
			return 127
		}
	}
	return 0
}

func echo(rest string, io stdio) {
	w := io.out
	if text, ok := strings.CutSuffix(rest, " >&2"); ok {
		rest, w = text, io.err
	}
	_, _ = fmt.Fprintln(w, rest) // a lost line is no failure of the script
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

func cat(io stdio) {
	if io.in == nil {
		return
	}
	_, _ = bufio.NewReader(io.in).WriteTo(io.out) // a lost line is no failure of the script
}
