// Package podvmtest holds the contract of a host of pod VMs as a test suite. Every [podvm.PodHost] passes [Run]; what the
// suite does not demand, no caller may rely on.
//
// A harness is made for each test; what it holds is cleaned up by the test that made it, with t.Cleanup.
package podvmtest
