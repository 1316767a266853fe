// Package fields says of every field of a pod whether it is honoured, honoured with a difference, or refused.
//
// There is one table. [Check] walks a pod along it and returns what is set and refused, each with its full path and a
// reason; a field that the table does not name is refused too, so nothing is ever dropped in silence. [Markdown] is the
// same table for people; docs/pod-fields.md is made from it.
//
// What the API server fills in by default and what admission injects counts as used, and is honoured.
package fields

//go:generate go run ./gen ../../docs/pod-fields.md
