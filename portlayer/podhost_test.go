package portlayer_test

import (
	"testing"
	"time"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/portlayertest"
	"github.com/virtual-kubelet/vic/portlayer/portlayertest/memhv"
)

func TestPodHostContract(t *testing.T) {
	portlayertest.RunPodHost(t, func(t *testing.T) portlayertest.PodHarness {
		hv, dir := memhv.New(memhv.Config{Boot: 20 * time.Millisecond}), t.TempDir()
		e := newEngine(t, hv, dir)
		return portlayertest.PodHarness{
			Host: e,
			Reopen: func() portlayer.PodHost {
				e.Close()
				return newEngine(t, hv, dir)
			},
			Kill:  func(uid string) { hv.Kill(uid, "killed by the test") },
			Image: source("sha256:image0", "content"),
			Scope: "default",
		}
	})
}
