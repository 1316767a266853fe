package podvmtest

import (
	"context"
	"io"
	"testing"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
	"github.com/virtual-kubelet/vic/portlayer/portlayertest"
)

// namesOnce is a host whose errors are checked with portlayertest.NamesOnce.
type namesOnce struct {
	podvm.PodHost
	t testing.TB
}

func (n namesOnce) New(ctx context.Context, owner portlayer.Owner) (*portlayer.Handle, error) {
	h, err := n.PodHost.New(ctx, owner)
	return h, n.check(owner.UID, err)
}

func (n namesOnce) Open(ctx context.Context, id string) (*portlayer.Handle, error) {
	h, err := n.PodHost.Open(ctx, id)
	return h, n.check(id, err)
}

func (n namesOnce) Commit(ctx context.Context, h *portlayer.Handle) (podvm.VM, error) {
	vm, err := n.PodHost.Commit(ctx, h)
	return vm, n.check(h.ID(), err)
}

func (n namesOnce) Start(ctx context.Context, id string) error {
	return n.check(id, n.PodHost.Start(ctx, id))
}

func (n namesOnce) PowerOff(ctx context.Context, id string) error {
	return n.check(id, n.PodHost.PowerOff(ctx, id))
}

func (n namesOnce) Remove(ctx context.Context, id string) error {
	return n.check(id, n.PodHost.Remove(ctx, id))
}

func (n namesOnce) Forget(ctx context.Context, id string) error {
	return n.check(id, n.PodHost.Forget(ctx, id))
}

func (n namesOnce) Get(ctx context.Context, id string) (podvm.VM, error) {
	vm, err := n.PodHost.Get(ctx, id)
	return vm, n.check(id, err)
}

func (n namesOnce) Remember(ctx context.Context, id string, record []byte) error {
	return n.check(id, n.PodHost.Remember(ctx, id, record))
}

func (n namesOnce) AckEvents(ctx context.Context, id, bootID string, seq uint64) error {
	return n.check(id, n.PodHost.AckEvents(ctx, id, bootID, seq))
}

func (n namesOnce) Configure(ctx context.Context, id string, pod wire.Pod) (wire.Ready, error) {
	ready, err := n.PodHost.Configure(ctx, id, pod)
	return ready, n.check(id, err)
}

func (n namesOnce) PutFiles(ctx context.Context, id string, files wire.Files) error {
	return n.check(id, n.PodHost.PutFiles(ctx, id, files))
}

func (n namesOnce) Run(ctx context.Context, id string, c wire.Container) error {
	return n.check(id, n.PodHost.Run(ctx, id, c))
}

func (n namesOnce) Stop(ctx context.Context, id string, stop wire.Stop) error {
	return n.check(id, n.PodHost.Stop(ctx, id, stop))
}

func (n namesOnce) Stats(ctx context.Context, id string) (wire.Stats, error) {
	stats, err := n.PodHost.Stats(ctx, id)
	return stats, n.check(id, err)
}

func (n namesOnce) Logs(ctx context.Context, id, container string, opts podvm.LogOptions) (io.ReadCloser, error) {
	r, err := n.PodHost.Logs(ctx, id, container, opts)
	return r, n.check(id, err)
}

func (n namesOnce) Exec(ctx context.Context, id, container string, exec wire.Exec, stdio podvm.Stdio) (wire.Exit, error) {
	exit, err := n.PodHost.Exec(ctx, id, container, exec, stdio)
	return exit, n.check(id, err)
}

func (n namesOnce) Attach(ctx context.Context, id, container string, attach wire.Attach, stdio podvm.Stdio) (wire.Exit, error) {
	exit, err := n.PodHost.Attach(ctx, id, container, attach, stdio)
	return exit, n.check(id, err)
}

func (n namesOnce) DialPort(ctx context.Context, id string, port uint16) (io.ReadWriteCloser, error) {
	conn, err := n.PodHost.DialPort(ctx, id, port)
	return conn, n.check(id, err)
}

func (n namesOnce) Console(ctx context.Context, id string) ([]byte, error) {
	console, err := n.PodHost.Console(ctx, id)
	return console, n.check(id, err)
}

func (n namesOnce) check(id string, err error) error {
	n.t.Helper()
	return portlayertest.NamesOnce(n.t, id, err)
}
