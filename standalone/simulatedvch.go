package main

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

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/node/statedir"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/qemu"
	"github.com/virtual-kubelet/vic/portlayer/vsphere"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/simulated"
	"github.com/virtual-kubelet/vic/standalone"
)

const (
	// guestPort is where guests dial in on the gateway's address.
	guestPort = 7443
	// simulatorQuestion bounds the question which VMs run, at the end.
	simulatorQuestion = 30 * time.Second
)

// openSimulated opens a VCH on a vCenter that a process beside this one simulates, whose VMs are QEMUs of this machine.
func (c *localCluster) openSimulated(ctx context.Context) (*vch, error) {
	accel, err := c.startSimulator(ctx)
	if err != nil {
		return nil, err
	}
	target, err := simulated.ReadTarget(c.state.Simulator())
	if err != nil {
		return nil, err
	}
	guests := netip.AddrPortFrom(c.network.Gateway(), guestPort).String()
	f := vsphereFile{
		Address: target.Address, User: target.User, PasswordFile: target.PasswordFile, CAFile: target.CAFile,
		BootISO: simulated.BootISO, Network: simulated.PortGroup, Gateway: c.network.Gateway().String(),
		GuestListen: guests, AdvertiseAddresses: []string{guests},
	}
	v, err := f.open(ctx, c.options.node, c.state, c.network.Subnet(), nil)
	if err != nil {
		return nil, errors.Join(err, endSimulator(ctx, c.state))
	}
	v.runsOn = fmt.Sprintf("a simulated vCenter with QEMU (%s)", accel)
	serve, letGo := v.run, v.close
	v.run = func(ctx context.Context) error {
		group, ctx := errgroup.WithContext(ctx)
		group.Go(func() error { return serve(ctx) })
		group.Go(func() error { return standalone.WatchSimulator(ctx, c.state) })
		return group.Wait()
	}
	v.close = func() {
		letGo()
		if err := endSimulator(ctx, c.state); err != nil {
			logging.From(ctx).WarnContext(ctx, "simulated vCenter left behind", "err", err)
		}
	}
	return v, nil
}

// startSimulator starts the vCenter, or finds the one that a former vic left with its VMs.
func (c *localCluster) startSimulator(ctx context.Context) (qemu.Accel, error) {
	if c.network == nil {
		return "", errors.New("--vsphere-simulator needs root: guests dial in from addresses of their own")
	}
	images, err := c.options.node.imageDir()
	if err != nil {
		return "", err
	}
	iso := filepath.Join(images, "boot.iso")
	if _, err := os.Stat(iso); err != nil {
		return "", fmt.Errorf("boot ISO (--guest-image; make guest-image builds it): %w", err)
	}
	accel, err := qemu.ParseAccel(c.options.node.accel)
	if err != nil {
		return "", misused("--accel: %w", err)
	}
	if accel, err = qemu.ProbeAccel(ctx, qemu.Config{Dir: c.state.VCH(), GuestImage: c.image, Accel: accel}); err != nil {
		return "", err
	}
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	return accel, standalone.StartSimulator(ctx, standalone.SimulatorConfig{
		Dir: c.state, Binary: self, Ready: simulated.TargetFile(c.state.Simulator()),
		Args: []string{simulatorCommand, "--dir", c.state.Path, "--accel", string(accel), "--boot-iso", iso},
	})
}

// endSimulator stops the vCenter of a state directory, unless VMs run in it: those that --keep-pods leaves, and those of a
// former run where this one could not start.
func endSimulator(ctx context.Context, state *statedir.Dir) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), simulatorQuestion)
	defer cancel()
	vms, err := listSimulated(ctx, state)
	if err == nil && slices.ContainsFunc(vms, func(vm portlayer.VM) bool { return vm.State == portlayer.StateRunning }) {
		return nil
	}
	return standalone.StopSimulator(ctx, state)
}

// listSimulated are the pod VMs of a state directory's simulated vCenter, if one runs.
func listSimulated(ctx context.Context, state *statedir.Dir) ([]portlayer.VM, error) {
	if runs, err := standalone.SimulatorRuns(state); !runs || err != nil {
		return nil, err
	}
	target, err := simulated.ReadTarget(state.Simulator())
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
	processes, err := simulated.Processes()
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
