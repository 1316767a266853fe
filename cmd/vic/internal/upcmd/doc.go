// Package upcmd is the command vic up: its flags, and what it prints of a cluster that package standalone runs.
package upcmd
