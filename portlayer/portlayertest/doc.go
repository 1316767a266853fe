// Package portlayertest holds the contract of a hypervisor as a test suite. Every [portlayer.Hypervisor] passes [Run]; what
// the suite does not demand, no caller may rely on. The contract of a host of pod VMs is package podvm/podvmtest.
//
//	func TestContract(t *testing.T) {
//		portlayertest.Run(t, func(t *testing.T) portlayertest.Harness {
//			return portlayertest.Harness{Hypervisor: memhv.New(memhv.Config{})}
//		})
//	}
//
// A harness is made for each test; what it holds is cleaned up by the test that made it, with t.Cleanup.
package portlayertest
