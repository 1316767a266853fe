package cli

import (
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// PlainWriter passes on what a terminal shows as it is: printable characters, tabs and ends of line. What a VM writes may
// hold sequences by which a terminal would obey it.
type PlainWriter struct {
	w    io.Writer
	rest []byte // the beginning of a character
	in   sequence
}

// NewPlainWriter returns a PlainWriter to w.
func NewPlainWriter(w io.Writer) *PlainWriter { return &PlainWriter{w: w} }

// sequence is where a PlainWriter is in a control sequence (ECMA-48, section 5).
type sequence int

const (
	inText    sequence = iota
	inEscape           // after ESC
	inControl          // after CSI, up to its final byte
	inString           // after OSC and its like, up to BEL or ST
)

const (
	escape = 0x1b
	bell   = 0x07
)

// Write takes all of b, whatever of it is shown.
func (p *PlainWriter) Write(b []byte) (int, error) {
	text := slices.Concat(p.rest, b)
	p.rest = nil
	var shown strings.Builder
	for len(text) > 0 {
		if !utf8.FullRune(text) {
			p.rest = text
			break
		}
		r, size := utf8.DecodeRune(text)
		text = text[size:]
		if p.shows(r) {
			shown.WriteRune(r)
		}
	}
	if _, err := io.WriteString(p.w, shown.String()); err != nil {
		return 0, err
	}
	return len(b), nil
}

// shows is true when r is to be seen, and follows sequences. None goes beyond a line: what comes after it is text.
func (p *PlainWriter) shows(r rune) bool {
	if r == '\n' {
		p.in = inText
		return true
	}
	switch p.in {
	case inEscape:
		p.in = inText
		switch {
		case r == '[':
			p.in = inControl
		case strings.ContainsRune("]PX^_", r):
			p.in = inString
		case r == escape:
			p.in = inEscape
		}
		return false
	case inControl:
		if r >= 0x40 && r <= 0x7e {
			p.in = inText
		}
		return false
	case inString:
		switch r {
		case bell:
			p.in = inText
		case escape:
			p.in = inEscape
		}
		return false
	case inText:
	}
	if r == escape {
		p.in = inEscape
		return false
	}
	return r == '\t' || r == utf8.RuneError || unicode.IsPrint(r)
}

// Plain is s without what could command a terminal, on one line.
func Plain(s string) string {
	var b strings.Builder
	_, _ = (&PlainWriter{w: &b}).Write([]byte(s)) // a Builder takes everything
	return strings.ReplaceAll(b.String(), "\n", " ")
}
