// Package procfs reads from /proc what the host has and what a process takes of it. See proc(5).
package procfs
