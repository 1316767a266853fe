// Package hook runs the hooks of a container's life: a command in it, an HTTP request, or a pause. What counts as a
// failure is as with the kubelet: a command's exit code, and of a request only that there is no answer.
package hook
