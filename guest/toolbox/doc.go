// Package toolbox gives VMware's hypervisor what its users ask of a VM: its addresses, that it lives, and a way to shut it down.
// It is the part of VMware Tools that pods have a use for, and nothing else: no commands, no files, no clock.
//
// The hypervisor asks over one channel (TCLO), which the guest polls. The guest reports over another one (RPCI). Both go by the
// backdoor of package vmw-guestinfo. On any other hypervisor nothing is touched.
//
//	err := toolbox.Run(ctx, toolbox.Config{Interfaces: toolbox.SystemInterfaces, Stop: stop})
package toolbox
