package mempods_test

import (
	"io"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/mempods"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
	"github.com/virtual-kubelet/vic/portlayer/podvm/podvmtest"
	"github.com/virtual-kubelet/vic/portlayer/portlayertest/fakeguest"
)

func TestPodHostContract(t *testing.T) {
	podvmtest.Run(t, func(*testing.T) podvmtest.Harness {
		store := mempods.NewStore()
		return podvmtest.Harness{
			Host:   mempods.New(store),
			Reopen: func() podvm.PodHost { return mempods.New(store) },
			Kill:   func(id string) { store.Kill(id, "killed by the test") },
			Image:  portlayer.DiskSource{Digest: "sha256:image0"},
			Scope:  mempods.Scope,
		}
	})
}

func TestAConnectionIntoThePodEndsWithItsVM(t *testing.T) {
	store := mempods.NewStore()
	host := mempods.New(store)
	h, err := host.New(t.Context(), portlayer.Owner{UID: "uid-1"})
	require.NoError(t, err)
	_, err = host.Commit(t.Context(), h)
	require.NoError(t, err)
	require.NoError(t, host.Start(t.Context(), "uid-1"))
	conn, err := host.DialPort(t.Context(), "uid-1", 80)
	require.NoError(t, err)
	_, err = io.WriteString(conn, "ping")
	require.NoError(t, err)
	b := make([]byte, len("ping"))
	_, err = io.ReadFull(conn, b)
	require.NoError(t, err)
	require.Equal(t, "ping", string(b))

	store.Kill("uid-1", "killed by the test")
	_, err = conn.Read(b)
	require.Error(t, err)
	require.NoError(t, conn.Close())
}

func TestAddressesOfAVMThatIsGoneAreGivenAgain(t *testing.T) {
	host := mempods.New(mempods.NewStore())
	for range 300 { // more than there are addresses
		h, err := host.New(t.Context(), portlayer.Owner{UID: "uid-1"})
		require.NoError(t, err)
		require.NoError(t, h.JoinScope(mempods.Scope))
		_, err = host.Commit(t.Context(), h)
		require.NoError(t, err)
		host.Discard(h) // it is committed and gives nothing back
		require.NoError(t, host.Remove(t.Context(), "uid-1"))

		h, err = host.New(t.Context(), portlayer.Owner{UID: "uid-1"})
		require.NoError(t, err)
		require.NoError(t, h.JoinScope(mempods.Scope))
		host.Discard(h)
	}
}

// A bubble does not end while a goroutine waits in it.
func TestNothingOutlivesAVM(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, host := t.Context(), mempods.New(mempods.NewStore())
		h, err := host.New(ctx, portlayer.Owner{UID: "uid-1"})
		require.NoError(t, err)
		_, err = host.Commit(ctx, h)
		require.NoError(t, err)
		require.NoError(t, host.Start(ctx, "uid-1"))
		_, err = host.Configure(ctx, "uid-1", wire.Pod{Containers: []wire.Seed{{Name: "app"}}})
		require.NoError(t, err)
		c := wire.Container{Name: "app", Args: fakeguest.Script("cat"), Stdin: true}
		require.NoError(t, host.Run(ctx, "uid-1", c))
		log, err := host.Logs(ctx, "uid-1", "app", podvm.LogOptions{Follow: true})
		require.NoError(t, err)
		input, typist := io.Pipe()
		ended := make(chan error)
		go func() {
			_, err := host.Exec(ctx, "uid-1", "app", wire.Exec{Args: c.Args, Stdin: true}, podvm.Stdio{Stdin: input})
			ended <- err
		}()
		synctest.Wait()

		require.NoError(t, host.Remove(ctx, "uid-1"))
		require.ErrorIs(t, <-ended, portlayer.ErrGuestUnreachable)
		require.NoError(t, typist.Close()) // a Read of the user's input may wait longer
		b, err := io.ReadAll(log)
		require.NoError(t, err)
		require.Empty(t, b)
	})
}
