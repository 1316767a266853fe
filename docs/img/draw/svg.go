package main

import (
	"bytes"
	_ "embed"
	"encoding/xml"
	"fmt"
	"strings"
)

//go:embed style.css
var style string

// headSize is the length of an arrow's head in pixels.
const headSize = 7

// svg returns the picture as a document of its own, on a page of its own colour.
func (p *picture) svg() []byte {
	w, h := p.root.w+2*margin, p.root.h+2*margin
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d">`+"\n", w, h, w, h)
	fmt.Fprintf(&b, "<style>\n%s</style>\n", style)
	fmt.Fprintf(&b, `<rect class="page" width="%d" height="%d" rx="8"/>`+"\n", w, h)
	p.root.draw(&b)
	for _, a := range p.arrows {
		a.draw(&b, a.gapMiddle(p.root))
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func (b *box) draw(out *bytes.Buffer) {
	if b.drawn() {
		fmt.Fprintf(out, `<rect class="%s" x="%d" y="%d" width="%d" height="%d" rx="%d"/>`+"\n", b.kind, b.x, b.y, b.w, b.h, b.inset()/2)
		for i, line := range b.text {
			class := "title"
			if i > 0 || b.inner() {
				class = "line"
			}
			x, top := b.x+padding, b.y+b.inset()
			if len(b.boxes) == 0 { // elsewhere arrows pass in the middle
				x, top, class = b.x+b.w/2, b.y+(b.h-len(b.text)*lineHeight)/2, class+" middle"
			}
			text(out, class, x, top+i*lineHeight+lineHeight*3/4, line)
		}
	}
	for _, c := range b.boxes {
		c.draw(out)
	}
}

// draw has the arrow's label on the line at labelY.
func (a arrow) draw(out *bytes.Buffer, labelY int) {
	left, right := a.overlap()
	x, top, end := (left+right)/2, a.from.bottom(), a.to.y
	fmt.Fprintf(out, `<path d="M%d %dV%d"/>`+"\n", x, top, end-headSize)
	fmt.Fprintf(out, `<path class="head" d="M%d %dl-%d -%dh%dz"/>`+"\n", x, end, headSize-2, headSize+2, 2*(headSize-2))
	text(out, "label", x+headSize, labelY+lineHeight/4, a.label)
}

func text(out *bytes.Buffer, class string, x, y int, line string) {
	var escaped strings.Builder
	_ = xml.EscapeText(&escaped, []byte(line)) // a strings.Builder takes everything
	fmt.Fprintf(out, `<text class="%s" x="%d" y="%d">%s</text>`+"\n", class, x, y, escaped.String())
}
