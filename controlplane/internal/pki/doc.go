// Package pki makes and keeps the credentials of one control plane: its authorities, the certificates of its parts, the
// key that signs service-account tokens, and kubeconfigs.
//
// Everything is under one directory that only its owner can read; private keys are 0600. An authority is good for ten
// years and a leaf for one. [Ensure] is called at each start: it issues what is missing, what ends within
// [RenewBefore], and what no longer says what it should (other addresses, another node name, another authority). It
// leaves the rest as it is, so kubeconfigs that were copied elsewhere keep working across restarts.
//
// The node is system:node:<name> of the group system:nodes, because the signer kubernetes.io/kubelet-serving
// gives its certificates to nobody else.
//
//	set, err := pki.Ensure(pki.Config{Dir: dir, NodeName: "vic-local", ServiceIP: ip}, time.Now())
//	if err != nil {
//		return err
//	}
//	err = set.WriteKubeconfig(path, "https://127.0.0.1:6443", set.Admin)
package pki
