package vcenter

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// disk is a virtual disk of a VM.
type disk struct {
	key       int32 // of the device
	bus, unit int32
	file      string // its flat file
	parent    string // its parent's flat file; empty for none
	bytes     int64
}

func busID(bus int32) string { return fmt.Sprintf("scsi%d", bus) }

// id names the disk's block node and device.
func (d disk) id() string { return fmt.Sprintf("disk-%d-%d", d.bus, d.unit) }

// node is the host's side of the disk.
func (d disk) node() map[string]any {
	node := map[string]any{
		"node-name": d.id(), "driver": "qcow2", "discard": "unmap",
		"file": map[string]any{"driver": "file", "filename": d.file, "discard": "unmap"},
	}
	if d.parent != "" {
		node["backing"] = map[string]any{
			"driver": "vmdk", "read-only": true,
			"file": map[string]any{"driver": "file", "filename": d.parent, "read-only": true},
		}
	}
	return node
}

// firstDisk is the place of the first disk among what is booted: behind all CDs.
const firstDisk = 100

// device is the guest's side of the disk.
func (d disk) device() map[string]any {
	return map[string]any{
		"driver": "scsi-hd", "id": d.id(), "drive": d.id(), "bus": busID(d.bus) + ".0", "scsi-id": d.unit,
		"bootindex": firstDisk + d.bus*16 + d.unit,
	}
}

// disks are those among devices.
func (v *Server) disks(devices []types.BaseVirtualDevice) ([]disk, error) {
	buses := map[int32]int32{} // bus numbers by key
	for _, d := range devices {
		if scsi, ok := d.(*types.ParaVirtualSCSIController); ok {
			buses[scsi.Key] = scsi.BusNumber
		}
	}
	var disks []disk
	for _, d := range devices {
		vd, ok := d.(*types.VirtualDisk)
		if !ok {
			continue
		}
		bus, ok := buses[vd.ControllerKey]
		backing, flat := vd.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
		if !ok || !flat || vd.UnitNumber == nil {
			return nil, fmt.Errorf("disk %d: only flat disks on pvscsi controllers are simulated", vd.Key)
		}
		one := disk{key: vd.Key, bus: bus, unit: *vd.UnitNumber, bytes: vd.CapacityInBytes}
		var err error
		if one.file, err = v.flatFile(backing.FileName); err != nil {
			return nil, err
		}
		if backing.Parent != nil {
			if one.parent, err = v.flatFile(backing.Parent.FileName); err != nil {
				return nil, err
			}
		}
		disks = append(disks, one)
	}
	return disks, nil
}

// makeDisk fills the file that the simulator has made empty.
func (v *Server) makeDisk(ctx context.Context, d disk) error {
	info, err := os.Stat(d.file)
	if err != nil || info.Size() > 0 {
		return err
	}
	fresh := d.file + ".new"
	args := []string{"create", "-q", "-f", "qcow2"}
	if d.parent != "" {
		args = append(args, "-b", d.parent, "-F", "vmdk")
	}
	args = append(args, fresh, strconv.FormatInt(d.bytes, 10))
	if out, err := exec.CommandContext(ctx, v.config.Image, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("make disk %s: %w: %s", filepath.Base(d.file), err, strings.TrimSpace(string(out)))
	}
	return os.Rename(fresh, d.file)
}

// file is where this machine has a file of the datastore.
func (v *Server) file(path string) (string, error) {
	var p object.DatastorePath
	if !p.FromString(path) || !filepath.IsLocal(p.Path) {
		return "", fmt.Errorf("%q is not a path in a datastore", path)
	}
	for _, e := range v.model.Map().All("Datastore") {
		if ds, ok := e.(*simulator.Datastore); ok && ds.Name == p.Datastore {
			return filepath.Join(ds.Info.GetDatastoreInfo().Url, p.Path), nil
		}
	}
	return "", fmt.Errorf("there is no datastore %q", p.Datastore)
}

// flatFile is the file with the content of a disk.
func (v *Server) flatFile(path string) (string, error) {
	file, err := v.file(path)
	if err != nil {
		return "", err
	}
	flat := simulator.VirtualDiskBackingFileName(file)
	if _, err := os.Stat(flat); errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("disk %s has no content", path)
	}
	return flat, nil
}
