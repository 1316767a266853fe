package main

import (
	"fmt"
	"regexp"
	"strings"
)

// box is a rectangle with text and boxes in it. Its place and size are in pixels, from the picture's upper left corner.
type box struct {
	kind       string
	text       []string // the title first
	boxes      []*box
	x, y, w, h int
}

// arrow leads from the lower edge of a box to the upper edge of another.
type arrow struct {
	from, to *box
	label    string
}

type picture struct {
	root   *box
	arrows []arrow
}

var (
	boxLine   = regexp.MustCompile(`^(\t*)(?:(\w+): )?(\w+)((?: "[^"]*")*)$`)
	arrowLine = regexp.MustCompile(`^(\w+) -> (\w+)(?: "([^"]*)")?$`)
	quoted    = regexp.MustCompile(`"([^"]*)"`)
)

// parse reads a picture's source; doc.go describes it. An error names the line.
func parse(source string) (*picture, error) {
	p := &picture{root: &box{kind: "column"}}
	open := []*box{p.root} // the last box of each depth
	named := map[string]*box{}
	for i, line := range strings.Split(source, "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if m := arrowLine.FindStringSubmatch(line); m != nil {
			from, to := named[m[1]], named[m[2]]
			if from == nil || to == nil {
				return nil, fmt.Errorf("line %d: an arrow from or to a box that has no such name", i+1)
			}
			p.arrows = append(p.arrows, arrow{from, to, m[3]})
			continue
		}
		m := boxLine.FindStringSubmatch(line)
		if m == nil || len(m[1]) >= len(open) {
			return nil, fmt.Errorf("line %d: neither a box nor an arrow, or indented too far", i+1)
		}
		b := &box{kind: m[3]}
		for _, t := range quoted.FindAllStringSubmatch(m[4], -1) {
			b.text = append(b.text, t[1])
		}
		open = open[:len(m[1])+1]
		parent := open[len(m[1])]
		parent.boxes = append(parent.boxes, b)
		open = append(open, b)
		named[m[2]] = b
	}
	return p, p.layOut()
}
