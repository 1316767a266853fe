package podvm_test

import (
	"testing"
	"time"

	"github.com/virtual-kubelet/vic/portlayer/podvm"
	"github.com/virtual-kubelet/vic/portlayer/podvm/podvmtest"
	"github.com/virtual-kubelet/vic/portlayer/portlayertest/memhv"
)

func TestPodHostContract(t *testing.T) {
	podvmtest.Run(t, func(t *testing.T) podvmtest.Harness {
		hv, dir := memhv.New(memhv.Config{Boot: 20 * time.Millisecond}), t.TempDir()
		e := newHost(t, hv, dir)
		return podvmtest.Harness{
			Host: e,
			Reopen: func() podvm.PodHost {
				e.Close()
				return newHost(t, hv, dir)
			},
			Kill:  func(uid string) { hv.Kill(uid, "killed by the test") },
			Image: source("sha256:image0", "content"),
			Scope: "default",
		}
	})
}
