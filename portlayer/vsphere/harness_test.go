//go:build !race

// The simulator writes to a VM that it makes while others read it (v0.55.0, VirtualMachine.applyExtraConfig), which the race
// detector takes for ours. So the tests that have one run without it.

package vsphere_test

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vslm"

	"github.com/virtual-kubelet/vic/internal/vcsim"
	"github.com/virtual-kubelet/vic/portlayer/vsphere"
)

// patience is how long the simulator may take: it is slow to tell of changes when it is busy.
const patience = 2 * time.Minute

// vcenter is a simulated vCenter or ESXi with TLS.
type vcenter struct {
	*testing.T
	model  *simulator.Model
	server *simulator.Server
	admin  *govmomi.Client
	target vsphere.Target
	guests *guests
	disks  *vcsim.Disks
	// before sees the simulator's calls; nil sees none.
	before func(ctx *simulator.Context, method *simulator.Method) types.BaseMethodFault
}

func start(t *testing.T, model *simulator.Model) *vcenter {
	t.Helper()
	require.NoError(t, model.Create())
	return serve(t, model)
}

// serve serves a model that is made.
func serve(t *testing.T, model *simulator.Model) *vcenter {
	t.Helper()
	t.Cleanup(model.Remove)
	model.Service.TLS = new(tls.Config)
	server := model.Service.NewServer()
	t.Cleanup(func() { go server.Close() }) // waits a minute for questions that came with a session which is lost
	v := &vcenter{T: t, model: model, server: server, guests: newGuests()}
	model.Map().AddHandler(v.guests)
	v.disks = vcsim.AddDisks(model.Map())
	model.Map().Handler = func(ctx *simulator.Context, method *simulator.Method) (mo.Reference, types.BaseMethodFault) {
		vcsim.BeforeCall(ctx, method)
		v.disks.BeforeCall(ctx, method)
		if v.before != nil {
			return nil, v.before(ctx, method)
		}
		return nil, nil //nolint:nilnil // the simulator goes on by itself
	}

	dir := t.TempDir()
	password, _ := server.URL.User.Password()
	v.target = vsphere.Target{
		Address: server.URL.Host, User: server.URL.User.Username(),
		PasswordFile: filepath.Join(dir, "password"), CAFile: filepath.Join(dir, "ca.pem"),
	}
	require.NoError(t, os.WriteFile(v.target.PasswordFile, []byte(password+"\n"), 0o600))
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	require.NoError(t, os.WriteFile(v.target.CAFile, ca, 0o600))

	admin, err := govmomi.NewClient(t.Context(), &url.URL{Scheme: "https", Host: server.URL.Host, Path: "/sdk", User: server.URL.User}, true)
	require.NoError(t, err)
	v.admin = admin
	v.guests.powerOff = func(ref types.ManagedObjectReference) {
		// Ends with the task, which a test may not see the end of.
		go func() {
			_, _ = object.NewVirtualMachine(admin.Client, ref).PowerOff(context.WithoutCancel(t.Context()))
		}()
	}
	return v
}

// open opens a VCH in the simulated inventory.
func (v *vcenter) open(change ...func(*vsphere.Config)) *vsphere.Hypervisor {
	v.Helper()
	session, err := vsphere.Connect(v.Context(), v.target)
	require.NoError(v, err)
	cfg := vsphere.Config{
		Name: "vch", Session: session, Guests: v.guests, Networks: map[string]string{"pods": "VM Network"},
	}
	for _, c := range change {
		c(&cfg)
	}
	h, err := vsphere.Open(v.Context(), cfg)
	require.NoError(v, err)
	v.Cleanup(func() {
		h.Close()
		session.Close(context.WithoutCancel(v.Context()))
	})
	return h
}

// powerOn and powerOff do it by hand.
func (v *vcenter) powerOn() {
	v.Helper()
	task, err := v.vm(uid).PowerOn(v.Context())
	require.NoError(v, err)
	require.NoError(v, task.Wait(v.Context()))
}

func (v *vcenter) powerOff() {
	v.Helper()
	task, err := v.vm(uid).PowerOff(v.Context())
	require.NoError(v, err)
	require.NoError(v, task.Wait(v.Context()))
}

// volume makes a first-class disk and returns its ID.
func (v *vcenter) volume(name string) string {
	v.Helper()
	store, err := v.finder().DefaultDatastore(v.Context())
	require.NoError(v, err)
	task, err := vslm.NewObjectManager(v.admin.Client).CreateDisk(v.Context(), types.VslmCreateSpec{
		Name: name, CapacityInMB: 64,
		BackingSpec: &types.VslmCreateSpecDiskFileBackingSpec{
			VslmCreateSpecBackingSpec: types.VslmCreateSpecBackingSpec{Datastore: store.Reference()},
		},
	})
	require.NoError(v, err)
	info, err := task.WaitForResult(v.Context())
	require.NoError(v, err)
	return info.Result.(types.VStorageObject).Config.Id.Id
}

// await waits for changes until is holds.
func await(t *testing.T, changes <-chan string, is func() bool) {
	t.Helper()
	until := time.After(patience)
	for !is() {
		select {
		case <-changes:
		case <-until:
			require.Fail(t, "it was not seen")
		}
	}
}

// vm is the VM of a pod, as an administrator finds it.
func (v *vcenter) vm(uid string) *object.VirtualMachine {
	v.Helper()
	vm, err := v.finder().VirtualMachine(v.Context(), "default-pod-"+uid)
	require.NoError(v, err)
	return vm
}

// finder finds what an administrator sees in the one datacenter.
func (v *vcenter) finder() *find.Finder {
	v.Helper()
	finder := find.NewFinder(v.admin.Client)
	dc, err := finder.DefaultDatacenter(v.Context())
	require.NoError(v, err)
	return finder.SetDatacenter(dc)
}
