// Package supervisor runs the containers of a pod by its restart policy, as the kubelet does: the first restart at once,
// the next ones after 10 s, 20 s and so on up to five minutes, and from the start again when a container ran for ten
// minutes. It needs no host: what happened is kept as a [wire.Snapshot] with a generation and a ring of events.
//
// Each container that was told to run has one goroutine, which alone starts and stops it. A [Runtime] does the work.
package supervisor
