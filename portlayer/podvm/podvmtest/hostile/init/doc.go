// Command init is PID 1 of VMs in tests, in the place of the guest program, which stands beside it as /vic-guest. How many
// processors the VM has says what becomes of it, since that can be chosen of any VM and of any pod:
//
//	1   the guest program, as if nothing were different
//	2   a guest that agrees to a plan and then misbehaves in every way of package hostile, some seconds each; it tells the
//	    console how much it did, and that it is done at last
//	3   the same, for longer
//	4   a boot that is stuck before there is a guest
//	5   a guest that greets, agrees to a plan, and then reports states that cannot be
package main
