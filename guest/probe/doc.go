// Package probe does what a container's probes and hooks say: a command in it, an HTTP request, a TCP connection, the health
// service of gRPC, or a pause. What counts as healthy or as a failure, and the words of a failure, are the kubelet's. Package
// supervisor decides when, and what follows.
//
//	outcome := probe.Do(ctx, wire.Probe{Action: wire.Action{TCP: &wire.TCPAction{Port: 80}}, Timeout: time.Second}, target)
//	err := probe.Hook(ctx, wire.Action{Exec: []string{"/bin/drain"}}, target)
//
// gRPC needs no more than one call with one string, over net/http's own HTTP/2: its library would make the guest, which
// every pod VM holds in memory, larger by two thirds (docs/decisions/0009-grpc-probes-over-net-http.md).
package probe
