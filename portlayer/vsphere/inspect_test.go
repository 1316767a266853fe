//go:build !race

package vsphere_test

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/vsphere"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/internal/testvcenter"
)

func TestInspectShowsWhatThereIs(t *testing.T) {
	v, h := cluster(t)
	_, err := h.Create(t.Context(), spec())
	require.NoError(t, err)
	require.NoError(t, h.PowerOn(t.Context(), uid))

	session, err := vsphere.Connect(t.Context(), v.Target)
	require.NoError(t, err)
	defer session.Close(context.WithoutCancel(t.Context()))
	cfg := vsphere.Config{Name: "vch", Session: session, Networks: map[string]string{"pods": "VM Network"}, CPUMilli: 1000, MemoryBytes: 512 << 20}
	found, err := vsphere.Inspect(t.Context(), cfg)
	require.NoError(t, err)
	assert.Equal(t, "/DC0/vm", found.Folder)
	assert.Equal(t, "/DC0/datastore/LocalDS_0", found.Datastore)
	require.Len(t, found.VMs, 1)
	assert.Equal(t, uid, found.VMs[0].Spec.ID)
	assert.Equal(t, portlayer.StateRunning, found.VMs[0].State)
	assert.EqualValues(t, 1000, found.Capacity.CPUMilli, "no more than is to be offered")
	assert.EqualValues(t, 512<<20, found.Capacity.MemoryBytes)

	require.NoError(t, vsphere.Probe(t.Context(), cfg))
	cfg.Pool = "nowhere"
	require.ErrorContains(t, vsphere.Probe(t.Context(), cfg), "resource pool")
	_, err = vsphere.Inspect(t.Context(), cfg)
	require.ErrorContains(t, err, "resource pool")
}

func TestPasswordAndAuthorityMayComeFromElsewhereThanFiles(t *testing.T) {
	v := withGuests(testvcenter.Cluster(t))
	password, err := os.ReadFile(v.Target.PasswordFile)
	require.NoError(t, err)
	ca, err := os.ReadFile(v.Target.CAFile)
	require.NoError(t, err)
	target := vsphere.Target{
		Address: v.Target.Address, User: v.Target.User, CA: ca,
		Password: func(context.Context) (string, error) { return string(password), nil },
	}
	session, err := vsphere.Connect(t.Context(), target)
	require.NoError(t, err)
	session.Close(context.WithoutCancel(t.Context()))

	gone := errors.New("the Secret is gone")
	target.Password = func(context.Context) (string, error) { return "", gone }
	_, err = vsphere.Connect(t.Context(), target)
	require.ErrorIs(t, err, gone)
	target.CA = []byte("nonsense")
	_, err = vsphere.Connect(t.Context(), target)
	require.ErrorContains(t, err, "certificates to trust")
	target.CA = nil
	_, err = vsphere.Connect(t.Context(), target)
	require.ErrorContains(t, err, "certificate", "the system knows nothing of it")
}
