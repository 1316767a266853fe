package vcsim_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
	"golang.org/x/sync/errgroup"

	"github.com/virtual-kubelet/vic/internal/vcsim"
)

// TestAViewChangesWhileItIsWatched mostly fails without BeforeCall: nothing answers any more.
func TestAViewChangesWhileItIsWatched(t *testing.T) {
	const changes, workers = 60, 8
	model := simulator.VPX()
	require.NoError(t, model.Create())
	t.Cleanup(model.Remove)
	model.Map().Handler = func(ctx *simulator.Context, m *simulator.Method) (mo.Reference, types.BaseMethodFault) {
		vcsim.BeforeCall(ctx, m)
		return nil, nil
	}
	server := model.Service.NewServer()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	client, err := govmomi.NewClient(ctx, server.URL, true)
	require.NoError(t, err)
	var vms []types.ManagedObjectReference
	for _, vm := range model.Map().All("VirtualMachine") {
		vms = append(vms, vm.Reference())
	}
	v, err := view.NewManager(client.Client).CreateListView(ctx, vms)
	require.NoError(t, err)
	filter := new(property.WaitFilter).Add(v.Reference(), "VirtualMachine", []string{"name"},
		&types.TraversalSpec{Type: "ListView", Path: "view"})
	pc := property.DefaultCollector(client.Client)
	_, err = pc.CreateFilter(ctx, filter.CreateFilter)
	require.NoError(t, err)
	waits, stop := context.WithCancel(ctx)
	watched := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() { // ends with waits
		first := sync.OnceFunc(func() { close(watched) })
		_ = pc.WaitForUpdatesEx(waits, &filter.WaitOptions, func([]types.ObjectUpdate) bool {
			first()
			return false
		})
	})
	<-watched
	var changers errgroup.Group
	for range workers {
		changers.Go(func() error {
			for range changes {
				if _, err := v.Add(ctx, vms); err != nil {
					return err
				}
				if _, err := v.Remove(ctx, vms); err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, changers.Wait())
	stop()
	watch.Wait()
	server.CloseClientConnections()
	server.Close()
}
