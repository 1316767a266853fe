// Package root is the command vic: its subcommands, its log lines, and flags that the environment sets.
package root
