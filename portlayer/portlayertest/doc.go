// Package portlayertest holds the port layer's two contracts as test suites. Every [portlayer.Hypervisor] passes [Run],
// every [podvm.PodHost] passes [RunPodHost]; what a suite does not demand, no caller may rely on.
//
//	func TestContract(t *testing.T) {
//		portlayertest.Run(t, func(t *testing.T) portlayertest.Harness {
//			return portlayertest.Harness{Hypervisor: memhv.New(memhv.Config{})}
//		})
//	}
//
// A harness is made for each test; what it holds is cleaned up by the test that made it, with t.Cleanup.
package portlayertest
