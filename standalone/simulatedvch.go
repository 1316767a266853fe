package standalone

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/node"
	"github.com/virtual-kubelet/vic/node/qemuvch"
	"github.com/virtual-kubelet/vic/node/statedir"
	"github.com/virtual-kubelet/vic/node/vspherevch"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/qemu"
	"github.com/virtual-kubelet/vic/portlayer/vsphere"
	"github.com/virtual-kubelet/vic/standalone/vcenter"
)

const (
	// guestPort is where guests dial in on the gateway's address.
	guestPort = 7443
	// simulatorQuestion bounds the question which VMs run, at the end.
	simulatorQuestion = 30 * time.Second
)

// SimulatorCommand is the command of this program that serves a simulated vCenter, with the flags --dir, --accel and --boot-iso.
const SimulatorCommand = "simulated-vcenter"

// openSimulated opens a VCH on a vCenter that a process beside this one simulates, whose VMs are QEMUs of this host.
func (c *cluster) openSimulated(ctx context.Context) (*node.Host, error) {
	accel, err := c.startSimulator(ctx)
	if err != nil {
		return nil, err
	}
	target, err := vcenter.ReadTarget(c.state.Simulator())
	if err != nil {
		return nil, err
	}
	host, err := vspherevch.New().Open(ctx, &node.VCH{Entry: c.simulatedVCH(target)}, c.state)
	if err != nil {
		return nil, errors.Join(err, endSimulator(ctx, c.state))
	}
	host.RunsOn = fmt.Sprintf("a simulated vCenter with QEMU (%s)", accel)
	serve, letGo := host.Run, host.Close
	host.Run = func(ctx context.Context) error {
		group, ctx := errgroup.WithContext(ctx)
		group.Go(func() error { return serve(ctx) })
		group.Go(func() error { return WatchSimulator(ctx, c.state) })
		return group.Wait()
	}
	host.Close = func() {
		letGo()
		if err := endSimulator(ctx, c.state); err != nil {
			logging.From(ctx).WarnContext(ctx, "simulated vCenter left behind", "err", err)
		}
	}
	return host, nil
}

// simulatedVCH is the VCH of the cluster, on the simulated vCenter.
func (c *cluster) simulatedVCH(target vsphere.Target) config.Entry {
	e := *c.Settings.VCH.DeepCopy()
	guests := netip.AddrPortFrom(c.network.Gateway(), guestPort).String()
	e.QEMU, e.Subnet = nil, c.network.Subnet().String()
	e.VSphere = &config.VSphere{
		Address: target.Address, User: target.User, PasswordFile: target.PasswordFile, CAFile: target.CAFile,
		BootISO: vcenter.BootISO, Network: vcenter.PortGroup, Gateway: c.network.Gateway().String(),
		GuestListen: guests, AdvertiseAddresses: []string{guests},
	}
	e.SetDefaults()
	return e
}

// startSimulator starts the vCenter, or finds the one that a former vic left with its VMs.
func (c *cluster) startSimulator(ctx context.Context) (qemu.Accel, error) {
	if c.network == nil {
		return "", errors.New("--vsphere-simulator needs root: guests dial in from addresses of their own")
	}
	dir, err := node.GuestImageDir(c.Settings)
	if err != nil {
		return "", err
	}
	iso := filepath.Join(dir, "boot.iso")
	if _, err := os.Stat(iso); err != nil {
		return "", fmt.Errorf("boot ISO (--guest-image; make guest-image builds it): %w", err)
	}
	image, err := qemuvch.GuestImage(c.Settings)
	if err != nil {
		return "", err
	}
	accel, err := qemu.ProbeAccel(ctx, qemu.Config{Dir: c.state.VCH(), GuestImage: image, Accel: qemu.Accel(c.Settings.Accelerator)})
	if err != nil {
		return "", err
	}
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	return accel, StartSimulator(ctx, SimulatorConfig{
		Dir: c.state, Binary: self, Ready: vcenter.TargetFile(c.state.Simulator()),
		Args: []string{SimulatorCommand, "--dir", c.state.Path, "--accel", string(accel), "--boot-iso", iso},
	})
}

// SimulatedVCenter says what a simulated vCenter runs its VMs with.
type SimulatedVCenter struct {
	State *statedir.Dir
	// Accelerator is QEMU's, and BootISO the file that VMs boot.
	Accelerator, BootISO string
}

// ServeSimulator is what SimulatorCommand does: it serves the vCenter until ctx ends, and its VMs end with it.
func ServeSimulator(ctx context.Context, cfg SimulatedVCenter) error {
	if err := BecomeSimulator(cfg.State); err != nil {
		return err
	}
	n, err := openNetwork(ctx, cfg.State)
	if err != nil {
		return err
	}
	vc, err := vcenter.Start(ctx, vcenter.Config{
		Dir: cfg.State.Simulator(), Accel: qemu.Accel(cfg.Accelerator), Network: vcenter.Taps{Network: n}, BootISO: cfg.BootISO,
	})
	if err != nil {
		return err
	}
	<-ctx.Done()
	vc.Close() //nolint:contextcheck // ctx has ended
	return nil
}

// endSimulator stops the vCenter of a state directory, unless VMs run in it: those that --keep-pods leaves, and those of a
// former run where this one could not start.
func endSimulator(ctx context.Context, state *statedir.Dir) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), simulatorQuestion)
	defer cancel()
	vms, err := SimulatedVMs(ctx, state)
	if err == nil && slices.ContainsFunc(vms, func(vm portlayer.VM) bool { return vm.State == portlayer.StateRunning }) {
		return nil
	}
	return StopSimulator(ctx, state)
}

// SimulatedVMs are the pod VMs of a state directory's simulated vCenter, if one runs.
func SimulatedVMs(ctx context.Context, state *statedir.Dir) ([]portlayer.VM, error) {
	if runs, err := SimulatorRuns(state); !runs || err != nil {
		return nil, err
	}
	target, err := vcenter.ReadTarget(state.Simulator())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // it starts or ends
	}
	if err != nil {
		return nil, err
	}
	session, err := vsphere.Connect(ctx, target)
	if err != nil {
		return nil, err
	}
	defer session.Close(ctx)
	found, err := vsphere.List(ctx, session, "", "")
	if err != nil {
		return nil, err
	}
	processes, err := vcenter.Processes()
	if err != nil {
		return nil, fmt.Errorf("list QEMUs: %w", err)
	}
	vms := make([]portlayer.VM, 0, len(found))
	for uuid, vm := range found {
		vm.PID = processes[uuid]
		vms = append(vms, vm)
	}
	return vms, nil
}
