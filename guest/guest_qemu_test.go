//go:build qemu

package guest_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/wire"
)

func TestAContainerRuns(t *testing.T) {
	v := start(t, t.TempDir())
	var hello wire.Hello
	v.call("GET", wire.PathHello, nil, &hello)
	t.Logf("guest answered after %s", time.Since(v.began))
	require.False(t, hello.Configured)
	require.NotEmpty(t, hello.BootID)

	v.configure(podOf("Never", "app"))
	t.Logf("pod configured after %s", time.Since(v.began))
	v.run(sh("app", "echo hello; echo oops >&2; id; hostname; cat /etc/hosts /etc/resolv.conf; ip a; ip r; ls /dev; mount; exit 3"))
	st := v.awaitState("app", wire.ContainerTerminated)
	t.Logf("container ended after %s", time.Since(v.began))
	t.Log(v.log("app", 0))
	require.Equal(t, int32(3), st.Current.ExitCode, "%+v", st.Current)
	v.powerOff()
}
