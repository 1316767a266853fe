// Package hostile is a guest that means harm: it speaks the beginning of the protocol of package wire and then does what
// no guest of ours does, one [Mode] after the other. Tests put it behind a pipe, and, as PID 1, into a real VM (folder
// init). It must not be able to use up the host's memory and disk, or the time of other guests.
package hostile
