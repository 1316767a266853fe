package vcenter

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/internal/durable"
)

// uploadPath is where the simulator has clients send a disk of an import.
const uploadPath = "/nfc/{lease}/{name}"

// leases are the VMs of imports that go on, by the lease's ID.
type leases struct {
	mu  sync.Mutex // guards vms
	vms map[string]types.ManagedObjectReference
}

// update notes what a lease is for.
func (l *leases) update(lease types.ManagedObjectReference, changes []types.PropertyChange) {
	for _, c := range changes {
		info, ok := c.Val.(types.HttpNfcLeaseInfo)
		if p, isPointer := c.Val.(*types.HttpNfcLeaseInfo); isPointer && p != nil {
			info, ok = *p, true
		}
		if !ok {
			continue
		}
		l.mu.Lock()
		if l.vms == nil {
			l.vms = map[string]types.ManagedObjectReference{}
		}
		l.vms[lease.Value] = info.Entity
		l.mu.Unlock()
	}
}

// drop forgets the leases of a VM.
func (l *leases) drop(vm types.ManagedObjectReference) {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.vms, func(_ string, of types.ManagedObjectReference) bool { return of == vm })
}

func (l *leases) vm(lease string) (types.ManagedObjectReference, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ref, ok := l.vms[lease]
	return ref, ok
}

// upload keeps the content of an import's disk.
func (v *Server) upload(w http.ResponseWriter, r *http.Request) {
	file, err := v.uploadedFile(r.PathValue("lease"), r.PathValue("name"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	if err := durable.Replace(file, 0o600, func(f *os.File) error { _, err := io.Copy(f, r.Body); return err }); err != nil {
		v.log.WarnContext(r.Context(), "disk not taken", "err", err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusOK)
}

// uploadedFile finds the disk of a lease's VM by the name of its descriptor.
func (v *Server) uploadedFile(lease, name string) (string, error) {
	ref, ok := v.leases.vm(lease)
	if !ok {
		return "", fmt.Errorf("no lease %q", lease)
	}
	ctx := v.newContext()
	vm, ok := ctx.Map.Get(ref).(*simulator.VirtualMachine)
	if !ok {
		return "", errors.New("the VM of the import is gone")
	}
	var found string
	ctx.WithLock(vm, func() {
		for _, d := range vm.Config.Hardware.Device {
			backing, ok := d.GetVirtualDevice().Backing.(*types.VirtualDiskFlatVer2BackingInfo)
			if ok && path.Base(backing.FileName) == name {
				found = backing.FileName
			}
		}
	})
	if found == "" {
		return "", fmt.Errorf("the import has no disk %q", name)
	}
	return v.flatFile(found)
}
