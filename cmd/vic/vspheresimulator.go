package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/virtual-kubelet/vic/portlayer/qemu"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/simulated"
)

// simulatorDir is where the simulated vCenter of a state directory keeps its datastore, beside what QEMU's VCH has.
const simulatorDir = "vcenter"

// openSimulated opens a VCH on a vCenter that this process simulates, whose VMs are QEMUs of this machine.
func (c *localCluster) openSimulated(ctx context.Context) (*vch, error) {
	if c.network == nil {
		return nil, errors.New("--vsphere-simulator needs root: guests dial in from addresses of their own")
	}
	images, err := c.options.node.imageDir()
	if err != nil {
		return nil, err
	}
	iso := filepath.Join(images, "boot.iso")
	if _, err := os.Stat(iso); err != nil {
		return nil, fmt.Errorf("boot ISO (--guest-image; make guest-image builds it): %w", err)
	}
	accel, err := qemu.ParseAccel(c.options.node.accel)
	if err != nil {
		return nil, misused("--accel: %w", err)
	}
	if accel, err = qemu.ProbeAccel(ctx, qemu.Config{Dir: c.state.VCH(), GuestImage: c.image, Accel: accel}); err != nil {
		return nil, err
	}
	vc, err := simulated.Start(ctx, simulated.Config{
		Dir: filepath.Join(c.state.Path, simulatorDir), Accel: accel, Network: simulated.Taps{Network: c.network}, BootISO: iso,
	})
	if err != nil {
		return nil, err
	}
	target, guests := vc.Target(), netip.AddrPortFrom(c.network.Gateway(), guestPort).String()
	f := vsphereFile{
		Address: target.Address, User: target.User, PasswordFile: target.PasswordFile, CAFile: target.CAFile,
		BootISO: simulated.BootISO, Network: simulated.PortGroup, Gateway: c.network.Gateway().String(),
		GuestListen: guests, AdvertiseAddresses: []string{guests},
	}
	v, err := f.open(ctx, c.options.node, c.state, c.network.Subnet(), nil)
	if err != nil {
		vc.Close() //nolint:contextcheck // it ends what was begun, also when ctx has ended
		return nil, err
	}
	v.runsOn = fmt.Sprintf("a simulated vCenter with QEMU (%s)", accel)
	letGo := v.close
	v.close = func() { letGo(); vc.Close() } //nolint:contextcheck // as above
	return v, nil
}

// guestPort is where guests dial in on the gateway's address.
const guestPort = 7443
