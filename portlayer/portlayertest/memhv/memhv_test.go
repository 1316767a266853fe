package memhv_test

import (
	"testing"
	"time"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/portlayertest"
	"github.com/virtual-kubelet/vic/portlayer/portlayertest/memhv"
)

func TestHypervisorContract(t *testing.T) {
	portlayertest.Run(t, func(*testing.T) portlayertest.Harness {
		hv := memhv.New(memhv.Config{Boot: 20 * time.Millisecond})
		return portlayertest.Harness{
			Hypervisor: hv,
			Reopen:     func() portlayer.Hypervisor { return hv },
			Kill:       func(uid string) { hv.Kill(uid, "killed by the test") },
			Volume: func(name string) string {
				hv.AddVolume(name)
				return name
			},
		}
	})
}
