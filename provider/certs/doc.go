// Package certs gets and renews the certificate that the kubelet API is served with, and approves requests for it.
//
// [Serving] asks for it with a CertificateSigningRequest of the signer kubernetes.io/kubelet-serving, as a kubelet does,
// keeps it with its key in a directory of its own, and renews it in time. Until someone has approved the request it
// serves a certificate signed by itself: clients that verify are refused, and nothing else waits.
//
// [Approver] is that someone where one program is both the node and its cluster's administrator. It approves what its
// own node asks for, with exactly the addresses that the node has, and nothing else.
package certs
