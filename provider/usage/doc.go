// Package usage reports what pods and the node use now, in the forms of the kubelet's API: /metrics/resource, which
// metrics-server reads for `kubectl top` and autoscalers, and /stats/summary.
//
// Guests are asked when someone asks the node, all at the same time and each for a short while: a silent one is left out and
// delays no other. A second request within a moment gets the same answer.
//
//	c := usage.New(usage.Config{NodeName: "vic-local", Host: engine, Pods: pods})
//	families, err := c.Resource(ctx)
package usage
