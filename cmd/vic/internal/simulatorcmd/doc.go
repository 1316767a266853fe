// Package simulatorcmd is the command that vic up --vsphere-simulator runs as a process of its own.
package simulatorcmd
