// Package supervisor runs the containers of a pod by its restart policy, as the kubelet does: the first restart at once,
// the next ones after 10 s, 20 s and so on up to five minutes, and from the start again when a container ran for ten
// minutes. It needs no host: what happened is kept as a [wire.Snapshot] with a generation and a ring of events.
//
// Init containers and sidecars come first, one after the other, then all others at once. A pod ends by itself when an
// init container has failed for good or no app container will run again: what runs then ends within the pod's grace
// period, sidecars last and in reverse order.
//
// Each container that was asked for has one goroutine, which alone starts and stops it. A [Runtime] does the work.
package supervisor
