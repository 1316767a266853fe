package portlayertest

import (
	"context"
	"io"

	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm/guestlink"
)

// link connects to the guest of a running VM and returns when it has greeted.
func (t *tester) link(uid string) *guestlink.Link {
	t.Helper()
	dialer, ok := portlayer.RoleOf[portlayer.Dialer](t.Hypervisor)
	require.True(t, ok, "the hypervisor has no channel to guests")
	changed := make(chan struct{}, 1)
	link := guestlink.Open(t.ctx, guestlink.Config{
		Dial:       func(ctx context.Context) (io.ReadWriteCloser, error) { return dialer.Dial(ctx, uid) },
		Expect:     func() guestlink.Expect { return guestlink.Expect{} },
		Logs:       noLogs{},
		OnSnapshot: func(*wire.Snapshot) {},
		OnChange: func() {
			select {
			case changed <- struct{}{}:
			default:
			}
		},
	})
	t.Cleanup(link.Close)
	for {
		if _, open := link.Greeted(); open {
			return link
		}
		select {
		case <-changed:
		case <-t.ctx.Done():
			require.Fail(t, "guest did not greet")
		}
	}
}

// noLogs is for guests that run no container.
type noLogs struct{}

func (noLogs) LogEnd(string, int32) int64                   { return 0 }
func (noLogs) AppendLog(string, int32, int64, []byte) error { return nil }
func (noLogs) FinishLog(string, int32)                      {}
func (noLogs) LogFinished(string, int32) bool               { return false }

func dial(t *tester) {
	if !t.dials() {
		return
	}
	t.create("uid-1")
	require.NoError(t, t.Hypervisor.PowerOn(t.ctx, "uid-1"))
	for range 3 {
		t.link("uid-1").Close()
	}
	link := t.link("uid-1")
	bootID, _ := link.Greeted()
	link.Close()
	require.NoError(t, t.Hypervisor.PowerOff(t.ctx, "uid-1"))
	require.NoError(t, t.Hypervisor.PowerOn(t.ctx, "uid-1"))
	after, _ := t.link("uid-1").Greeted()
	require.NotEqual(t, bootID, after, "the VM was started anew")
}

// dials is true for a hypervisor that is a Dialer.
func (t *tester) dials() bool {
	_, ok := portlayer.RoleOf[portlayer.Dialer](t.Hypervisor)
	return ok
}

func dialRefused(t *tester) {
	dialer, ok := portlayer.RoleOf[portlayer.Dialer](t.Hypervisor)
	if !ok {
		return
	}
	require.ErrorIs(t, t.dialError(dialer, "uid-1"), portlayer.ErrNotFound)
	t.create("uid-1")
	require.ErrorIs(t, t.dialError(dialer, "uid-1"), portlayer.ErrNotRunning)
	require.NoError(t, t.Hypervisor.PowerOn(t.ctx, "uid-1"))
	require.NoError(t, t.Hypervisor.PowerOff(t.ctx, "uid-1"))
	require.ErrorIs(t, t.dialError(dialer, "uid-1"), portlayer.ErrNotRunning)
}

func guestPowersOff(t *tester) {
	if !t.dials() {
		return
	}
	t.create("uid-1")
	require.NoError(t, t.Hypervisor.PowerOn(t.ctx, "uid-1"))
	link := t.link("uid-1")
	require.NoError(t, link.PowerOff(t.ctx))
	t.await("uid-1", inState(portlayer.StateStopped))
}
