// Package podvmcmd is the commands vic podvm: what the hypervisor really holds. They need neither an API server nor a vic that
// runs.
package podvmcmd
