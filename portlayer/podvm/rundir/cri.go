package rundir

import (
	"bytes"
	"regexp"
	"time"
)

// line is one line of a CRI log: when, from which stream, whether it is whole, and what.
type line struct {
	stamp   []byte // as written; empty where the line has another form
	at      time.Time
	stream  string
	whole   bool // tag F; a part (tag P) is continued by the next line of its stream
	content []byte
}

// tornHead is a line that broke off before its content.
var tornHead = regexp.MustCompile(`^[0-9]{1,4}(-[0-9T:.-]*Z?( (std)?[a-z]{0,3}( [FP]? ?)?)?)?$`)

// parseLine splits a line without its newline. What does not have the form is content alone.
func parseLine(b []byte) line {
	raw := line{whole: true, content: b}
	stamp, rest, ok := bytes.Cut(b, []byte{' '})
	if !ok {
		return raw
	}
	stream, rest, ok := bytes.Cut(rest, []byte{' '})
	if !ok {
		return raw
	}
	tag, content, ok := bytes.Cut(rest, []byte{' '})
	if !ok {
		tag, content = rest, nil // an empty line whose last space was trimmed
	}
	at, err := time.Parse(time.RFC3339Nano, string(stamp))
	if err != nil || len(tag) == 0 || (string(stream) != "stdout" && string(stream) != "stderr") {
		return raw
	}
	return line{stamp: stamp, at: at, stream: string(stream), whole: tag[0] == 'F', content: content}
}
