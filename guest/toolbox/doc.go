// Package toolbox tells VMware's hypervisor what its users ask of a VM: its addresses, that it lives, and that it can be shut
// down. It is the part of VMware Tools that pods have a use for, and nothing else: no commands, no files, no clock.
//
// The hypervisor asks over one channel (TCLO), which the guest polls, and is told things over another one (RPCI). Both go by
// the backdoor of package vmw-guestinfo; elsewhere than on VMware's hypervisor nothing is touched.
//
//	err := toolbox.Run(ctx, toolbox.Config{Interfaces: toolbox.SystemInterfaces, Stop: stop})
package toolbox
