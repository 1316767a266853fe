// Package logfile is a log of bounded size: FILE and, once it was full or a new process began, FILE.1.
//
// It also remembers the last line by which klog announced the end of the process, since that is the cause which the
// person at the terminal needs, and the log is not where they look first.
package logfile
