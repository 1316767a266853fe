// Package v1alpha1 has the Kubernetes objects that say what vic serves: VirtualContainerHost.
//
// +kubebuilder:object:generate=true
// +groupName=vic.virtual-kubelet.io
package v1alpha1

//go:generate ../../build/controller-gen.sh
