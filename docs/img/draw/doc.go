// Command draw makes an SVG of nested boxes from text, so that the pictures of the documents have a source that people
// can read and change, and need no tool that is not here.
//
// A line is a box: its kind, its title and lines of text, each in quotes. The lines indented below it by a tab are the
// boxes in it, one under another. A row has its boxes side by side, a column one under another; neither is drawn. A box may
// have a name before its kind, for the arrows at the end. An arrow is vertical: the one box has to be above the other.
//
//	place "Linux machine"
//		a: vic "vic node" "a service"
//		b: vch "VCH"
//
//	a -> b "QMP"
//
// The kinds and their colours, for light and for dark pages, are those of style.css.
package main

//go:generate go run . ../cluster.boxes ../cluster.svg
