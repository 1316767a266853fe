// Package version says which build this is, and of which Kubernetes version its nodes are.
package version

// Version is set by the linker (see the Makefile).
var Version = "unknown"

// The Kubernetes version that a node implements. It is that of the modules in go.mod, whose go command can't hand it to a
// constant, and a test holds them together. The guest needs it too, which links nothing of Kubernetes.
const (
	KubernetesMinor = "1.37"
	Kubernetes      = "v" + KubernetesMinor + ".1"
)
