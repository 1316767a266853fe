// Package procfs reads from /proc what the host has and what a process takes of it, and sets how soon the kernel ends a process
// when memory runs out. See proc(5).
package procfs
