// Package logfile keeps what containers write, one file per container and attempt, in the line format of the container
// runtime interface (CRI):
//
//	2026-01-02T15:04:05.123456789Z stdout F a whole line
//	2026-01-02T15:04:05.123456789Z stderr P a part of a line
//
// Offsets are logical: they count from the attempt's first byte, also after the beginning was freed. A [File] frees what
// its reader acknowledged by punching holes, and drops the oldest lines by itself when nobody reads for long. A reader
// that is overtaken so gets [ErrDropped] and begins again at [File.From].
package logfile
