// Command init is PID 1 of VMs in tests, in the place of the guest program, which stands beside it as /vic-guest. The number of
// the VM's processors says what becomes of it, since a test can choose that for any VM and any pod:
//
//	1   the guest program, as if nothing were different
//	2   a guest that agrees to a plan and then misbehaves in every way of package hostile, some seconds each; it writes to
//	    the console how much it did, and at last that it is done
//	3   the same, for longer
//	4   a boot that is stuck before there is a guest
//	5   a guest that greets, agrees to a plan, and then reports states that cannot be
package main
