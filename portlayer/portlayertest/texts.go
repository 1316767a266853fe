package portlayertest

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/virtual-kubelet/vic/portlayer"
)

// NamesOnce fails the test unless err is nil, or a text that names the VM, container or other thing of that ID once: the
// layer that acts names it, and those above add what it can't know. It returns err. The end of a context is left alone.
func NamesOnce(tb testing.TB, id string, err error) error {
	tb.Helper()
	if err != nil && !errors.Is(err, context.Canceled) {
		assert.Equal(tb, 1, strings.Count(err.Error(), id), "%q has to name %s once", err, id)
	}
	return err
}

// namesOnce is a hypervisor whose errors are checked with NamesOnce.
type namesOnce struct {
	portlayer.Hypervisor
	t testing.TB
}

// Unwrap has portlayer.RoleOf find the roles of the hypervisor.
func (n namesOnce) Unwrap() portlayer.Hypervisor { return n.Hypervisor }

func (n namesOnce) Create(ctx context.Context, spec portlayer.Spec) (portlayer.VM, error) {
	vm, err := n.Hypervisor.Create(ctx, spec)
	return vm, NamesOnce(n.t, spec.ID, err)
}

func (n namesOnce) Update(ctx context.Context, spec portlayer.Spec, version uint64) (portlayer.VM, error) {
	vm, err := n.Hypervisor.Update(ctx, spec, version)
	return vm, NamesOnce(n.t, spec.ID, err)
}

func (n namesOnce) Destroy(ctx context.Context, id string) error {
	return NamesOnce(n.t, id, n.Hypervisor.Destroy(ctx, id))
}

func (n namesOnce) PowerOn(ctx context.Context, id string) error {
	return NamesOnce(n.t, id, n.Hypervisor.PowerOn(ctx, id))
}

func (n namesOnce) PowerOff(ctx context.Context, id string) error {
	return NamesOnce(n.t, id, n.Hypervisor.PowerOff(ctx, id))
}

func (n namesOnce) EnsureDisk(ctx context.Context, src portlayer.DiskSource) (portlayer.DiskRef, error) {
	ref, err := n.Hypervisor.EnsureDisk(ctx, src)
	return ref, NamesOnce(n.t, src.Digest, err)
}

// dialError is why the guest of a VM can't be dialled.
func (t *tester) dialError(d portlayer.Dialer, id string) error {
	_, err := d.Dial(t.ctx, id)
	return NamesOnce(t, id, err)
}
