package vcenter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/qemu"
)

const (
	// guestInfo begins the keys of extraConfig that the guest gets, firmwareInfo what it finds them under.
	guestInfo    = "guestinfo.vic."
	firmwareInfo = "opt/vic/"
	// specKey has the VM's spec as portlayer/vsphere writes it.
	specKey = "vic.spec"
	// sandbox is QEMU's seccomp filter, as for pod VMs on QEMU.
	sandbox = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
	// tcgBufferMiB bounds what TCG keeps of translated code; QEMU's own default is up to 1 GiB a VM.
	tcgBufferMiB = 128
)

// commandLine is a QEMU's arguments, the files that it inherits from descriptor 3 on, and what is to be done at its end.
type commandLine struct {
	args  []string
	files []*os.File
	after []func()
}

func (c *commandLine) add(args ...string) { c.args = append(c.args, args...) }

// addObject adds an option that takes JSON.
func (c *commandLine) addObject(option string, object map[string]any) error {
	b, err := json.Marshal(object)
	if err != nil {
		return err
	}
	c.add(option, string(b))
	return nil
}

// pass gives QEMU a file and returns the descriptor that it has there. The command line owns the file from now on.
func (c *commandLine) pass(f *os.File) int {
	c.files = append(c.files, f)
	return 2 + len(c.files)
}

// close closes what QEMU has its own descriptors of.
func (c *commandLine) close() {
	for _, f := range c.files {
		_ = f.Close() // QEMU's copies are what counts
	}
}

func (c *commandLine) release() {
	for _, f := range c.after {
		f()
	}
}

// commandLine makes a VM's QEMU of its configuration, and what is missing of its disks' files.
func (v *Server) commandLine(ctx context.Context, vm *simulator.VirtualMachine) (*commandLine, error) {
	c := &commandLine{}
	err := errors.Join(v.addMachine(c, vm), v.addInfo(c, vm.Config.ExtraConfig), v.addDevices(ctx, c, vm))
	if err != nil {
		c.close()
		c.release()
		return nil, err
	}
	return c, nil
}

func (v *Server) addMachine(c *commandLine, vm *simulator.VirtualMachine) error {
	hw := vm.Config.Hardware
	if hw.NumCPU < 1 || hw.MemoryMB < 1 {
		return fmt.Errorf("%d processors and %d MB of memory", hw.NumCPU, hw.MemoryMB)
	}
	accel := []string{"-accel", fmt.Sprintf("tcg,tb-size=%d", tcgBufferMiB), "-cpu", "max"}
	if v.config.Accel == qemu.AccelKVM {
		accel = []string{"-accel", "kvm", "-cpu", "host"}
	}
	c.add("-name", "guest="+vm.Self.Value, "-uuid", vm.Config.InstanceUuid,
		"-machine", "pc,usb=off,vmport=off,dump-guest-core=off,mem-merge=off")
	c.add(accel...)
	c.add("-smp", strconv.Itoa(int(hw.NumCPU)), "-m", fmt.Sprintf("%dM", hw.MemoryMB),
		"-nodefaults", "-no-user-config", "-display", "none", "-boot", "strict=on", "-sandbox", sandbox,
		"-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console")
	return nil
}

// addInfo gives the guest what is meant for it. It may be secret, so it goes by files that have no name.
func (v *Server) addInfo(c *commandLine, extra []types.BaseOptionValue) error {
	for _, o := range extra {
		option := o.GetOptionValue()
		name, ok := strings.CutPrefix(option.Key, guestInfo)
		text, isText := option.Value.(string)
		if !ok || !isText || text == "" {
			continue
		}
		if strings.ContainsAny(name, ",=/") || name == "" {
			return fmt.Errorf("guest's key %q is not a name", option.Key)
		}
		fd, err := unix.MemfdCreate(option.Key, unix.MFD_CLOEXEC)
		if err != nil {
			return fmt.Errorf("keep %s: %w", option.Key, err)
		}
		f := os.NewFile(uintptr(fd), option.Key)
		c.add("-fw_cfg", fmt.Sprintf("name=%s%s,file=/dev/fd/%d", firmwareInfo, name, c.pass(f)))
		if _, err := f.WriteString(text); err != nil {
			return fmt.Errorf("keep %s: %w", option.Key, err)
		}
	}
	return nil
}

func (v *Server) addDevices(ctx context.Context, c *commandLine, vm *simulator.VirtualMachine) error {
	devices := vm.Config.Hardware.Device
	for _, d := range devices {
		if scsi, ok := d.(*types.ParaVirtualSCSIController); ok {
			c.add("-device", "pvscsi,id="+busID(scsi.BusNumber))
		}
	}
	disks, err := v.disks(devices)
	if err != nil {
		return err
	}
	for _, d := range disks {
		if err := v.makeDisk(ctx, d); err != nil {
			return err
		}
		if err := errors.Join(c.addObject("-blockdev", d.node()), c.addObject("-device", d.device())); err != nil {
			return err
		}
	}
	cards := 0
	for _, d := range devices {
		switch d := d.(type) {
		case *types.VirtualCdrom:
			err = v.addCD(c, d, devices)
		case types.BaseVirtualEthernetCard:
			err = v.addCard(ctx, c, vm, d, cards)
			cards++
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// addCD adds a CD drive with an ISO in it. Others are left out.
func (v *Server) addCD(c *commandLine, cd *types.VirtualCdrom, devices []types.BaseVirtualDevice) error {
	backing, ok := cd.Backing.(*types.VirtualCdromIsoBackingInfo)
	if !ok || cd.Connectable != nil && !cd.Connectable.StartConnected {
		return nil
	}
	i := slices.IndexFunc(devices, func(d types.BaseVirtualDevice) bool { return d.GetVirtualDevice().Key == cd.ControllerKey })
	if i < 0 {
		return errors.New("CD drive without a controller")
	}
	ide, ok := devices[i].(*types.VirtualIDEController)
	if !ok {
		return fmt.Errorf("CD drive on %T: only IDE is simulated", devices[i])
	}
	file, err := v.file(backing.FileName)
	if err != nil {
		return err
	}
	unit := int32(0)
	if cd.UnitNumber != nil {
		unit = *cd.UnitNumber
	}
	id := fmt.Sprintf("cd-%d-%d", ide.BusNumber, unit)
	return errors.Join(
		c.addObject("-blockdev", map[string]any{
			"node-name": id, "driver": "raw", "read-only": true, "file": map[string]any{"driver": "file", "filename": file},
		}),
		c.addObject("-device", map[string]any{
			"driver": "ide-cd", "id": id, "drive": id, "bus": fmt.Sprintf("ide.%d", ide.BusNumber), "unit": unit,
			"bootindex": 10*ide.BusNumber + unit,
		}))
}

func (v *Server) addCard(ctx context.Context, c *commandLine, vm *simulator.VirtualMachine, d types.BaseVirtualEthernetCard, i int) error {
	if _, ok := d.(*types.VirtualVmxnet3); !ok {
		return fmt.Errorf("interface %T: only vmxnet3 is simulated", d)
	}
	nic := findNIC(vm.Config.ExtraConfig, d.GetVirtualEthernetCard().MacAddress)
	net, err := v.config.Network.Attach(ctx, fmt.Sprintf("%s/%d", vm.Config.InstanceUuid, i), nic)
	if err != nil {
		return fmt.Errorf("interface %s: %w", nic.MAC, err)
	}
	if net.Release != nil {
		c.after = append(c.after, net.Release)
	}
	options := fmt.Sprintf("%s,id=net%d", net.Options, i)
	if net.File != nil {
		options += fmt.Sprintf(",fd=%d", c.pass(net.File))
	}
	c.add("-netdev", options, "-device", fmt.Sprintf("vmxnet3,netdev=net%d,mac=%s,romfile=", i, nic.MAC))
	return nil
}

// findNIC is what the VM's record says of the interface with that MAC address; only the address where there is none.
func findNIC(extra []types.BaseOptionValue, mac string) portlayer.NIC {
	var spec portlayer.Spec
	for _, o := range extra {
		if text, ok := o.GetOptionValue().Value.(string); ok && o.GetOptionValue().Key == specKey {
			_ = json.Unmarshal([]byte(text), &spec) // what is not a spec says nothing of interfaces
		}
	}
	for _, n := range spec.NICs {
		if strings.EqualFold(n.MAC, mac) {
			return n
		}
	}
	return portlayer.NIC{MAC: mac}
}
