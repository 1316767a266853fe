//go:build !race

package vsphere_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/vsphere"
)

func TestPodVMsAreListedWithoutAVCH(t *testing.T) {
	v, h, name := powered(t)
	want, err := h.List(t.Context())
	require.NoError(t, err)
	require.Len(t, want, 1)

	session, err := vsphere.Connect(t.Context(), v.Target)
	require.NoError(t, err)
	t.Cleanup(func() { session.Close(context.WithoutCancel(t.Context())) })
	got, err := vsphere.List(t.Context(), session, "", "")
	require.NoError(t, err)
	require.Equal(t, map[string]portlayer.VM{name: want[0]}, got, "and no VM that is another's")
	_, err = vsphere.List(t.Context(), session, "", "/DC0/vm/absent")
	require.ErrorContains(t, err, "list VMs: VM folder")
}
