// Package events shows users what happened to their pods and nodes: as events of Kubernetes, within its limits, beside the
// object or the container that they are about. Reasons belong to the packages that use them.
//
//	w := events.To(recorder)
//	w.Container(pod, "app", events.Warning("Failed", "Error: %v", err))
package events
