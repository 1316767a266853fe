// Package server runs a whole Kubernetes control plane in this process: etcd, kube-apiserver, kube-controller-manager
// and kube-scheduler, as released, each from its own options and its own Run function. Their commands can't share a
// process, because the second one to set up a signal handler panics.
//
// # What differs from stock
//
//   - There is one of each, so there is no leader election, and the endpoints of kubernetes.default are left to those
//     who know how pods reach this process.
//   - The controller manager and the scheduler serve nothing; they are part of this process and their health is its.
//   - Their clients may send 2,000 requests a second, since the defaults of 20 and 50 are what a burst of pods would wait for.
//   - etcd has no port: its client socket is in its directory, which only the owner can enter. It keeps fsync.
//   - The node's InternalIP is asked first, since a virtual node's name resolves nowhere.
//   - Aggregated API servers and webhooks are reached at their endpoints, since this machine has no Service addresses.
//
// # Who may do what
//
// As in most clusters: the node authorizer gives a node what its own pods refer to, the admission plug-in NodeRestriction
// keeps it to itself, and RBAC says the rest. The node's own binding lets it read who signs client certificates. Without
// credentials a client can ask for health and nothing else.
//
// # Order
//
// etcd starts first and stops last. Nothing that was acknowledged is lost however the process ends.
package server
