// Package nodecmd is the command vic node: its flags and its file, for package node.
package nodecmd
