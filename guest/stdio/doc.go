// Package stdio moves a process's standard streams: [Copy] drains a pipe or a terminal to its end, also when the process
// has left the other end to somebody else, and [Fanout] gives a copy to whoever is attached.
package stdio
