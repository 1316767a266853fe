package main

import "errors"

// Measures in pixels.
const (
	margin     = 20 // around the picture
	padding    = 12 // in a box, around what it holds
	gap        = 14 // between boxes side by side
	lineHeight = 18
	charWidth  = 7.6 // on average, of the bold fonts and the size that style.css names
	arrowRoom  = 40  // between boxes one under another that an arrow joins
)

// layOut gives every box its place, and checks that the arrows can be drawn.
func (p *picture) layOut() error {
	w, h := p.size(p.root)
	p.root.place(margin, margin, w, h, p)
	for _, a := range p.arrows {
		if left, right := a.overlap(); left >= right || a.from.bottom() >= a.to.y {
			return errors.New("an arrow from " + a.from.title() + " to " + a.to.title() + " would not be vertical")
		}
	}
	return nil
}

// size returns the least width and height of b, and keeps them in it.
func (p *picture) size(b *box) (w, h int) {
	for i, c := range b.boxes {
		cw, ch := p.size(c)
		switch {
		case b.kind == "row" && i > 0:
			w, h = w+gap+cw, max(h, ch)
		case b.kind == "row":
			w, h = cw, ch
		case i > 0:
			w, h = max(w, cw), h+p.between(b.boxes[i-1], c)+ch
		default:
			w, h = cw, ch
		}
	}
	if b.drawn() {
		for _, t := range b.text {
			w = max(w, int(charWidth*float64(len(t))))
		}
		w, h = w+2*padding, h+b.textHeight()+b.inset()
	}
	b.w, b.h = w, h
	return w, h
}

// place puts b at x and y with its final size, which is its least one or more. What is left over goes to the boxes of a
// row in equal parts, and to the first one of a column.
func (b *box) place(x, y, w, h int, p *picture) {
	wider, higher := w-b.w, h-b.h
	b.x, b.y, b.w, b.h = x, y, w, h
	if b.drawn() {
		x, y, w, h = x+padding, y+b.textHeight(), w-2*padding, h-b.textHeight()-b.inset()
	}
	for i, c := range b.boxes {
		if b.kind == "row" {
			share := wider / (len(b.boxes) - i)
			wider -= share
			c.place(x, y, c.w+share, h, p)
			x += c.w + gap
			continue
		}
		if i > 0 {
			y += p.between(b.boxes[i-1], c)
		}
		c.place(x, y, w, c.h+higher, p)
		y, higher = y+c.h, 0
	}
}

// between is the room between two boxes one under another: more where an arrow joins what is in them.
func (p *picture) between(upper, lower *box) int {
	for _, a := range p.arrows {
		if upper.holds(a.from) && lower.holds(a.to) {
			return arrowRoom
		}
	}
	if upper.inner() && lower.inner() {
		return 0
	}
	return gap
}

func (b *box) holds(other *box) bool {
	if b == other {
		return true
	}
	for _, c := range b.boxes {
		if c.holds(other) {
			return true
		}
	}
	return false
}

// drawn is true for all boxes but those that only arrange others.
func (b *box) drawn() bool { return b.kind != "row" && b.kind != "column" }

// inner is true for the layers of a VM, which lie on each other.
func (b *box) inner() bool { return b.kind == "container" || b.kind == "guest" || b.kind == "kernel" }

// textHeight is the room above the first box in b, for b's own text.
func (b *box) textHeight() int {
	h := len(b.text)*lineHeight + b.inset()
	if len(b.text) > 0 && len(b.boxes) > 0 {
		h += padding / 2
	}
	return h
}

// inset is the room above and below what is in b.
func (b *box) inset() int {
	if b.inner() {
		return padding / 3
	}
	return padding
}

func (b *box) bottom() int { return b.y + b.h }

func (b *box) title() string {
	if len(b.text) == 0 {
		return b.kind
	}
	return b.text[0]
}

// gapMiddle is the y half-way between the outermost boxes that hold one end of the arrow each: no line is in the way there.
func (a arrow) gapMiddle(all *box) int {
	for _, c := range all.boxes {
		if c.holds(a.from) && c.holds(a.to) {
			return a.gapMiddle(c)
		}
	}
	upper, lower := a.from, a.to
	for _, c := range all.boxes {
		if c.holds(a.from) {
			upper = c
		}
		if c.holds(a.to) {
			lower = c
		}
	}
	return (upper.bottom() + lower.y) / 2
}

// overlap is the range of x that both boxes of an arrow cover.
func (a arrow) overlap() (left, right int) {
	return max(a.from.x, a.to.x), min(a.from.x+a.from.w, a.to.x+a.to.w)
}
