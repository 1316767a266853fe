// Package e2e tests vic-controlplane as a program: it starts the real thing in directories of its own and looks at it
// through its kubectl.
package e2e
