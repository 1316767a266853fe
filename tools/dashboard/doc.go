// Command dashboard checks a Grafana dashboard: every expression in it is PromQL, and every metric and label that it names
// is among those that a node shows.
//
//	kubectl get --raw /api/v1/nodes/vic-local/proxy/metrics | dashboard examples/grafana/vic.json
//
// It is a module of its own, since the parser's module would raise versions that the node is built from.
package main
