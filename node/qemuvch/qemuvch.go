package qemuvch

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/node"
	"github.com/virtual-kubelet/vic/node/statedir"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
	"github.com/virtual-kubelet/vic/portlayer/qemu"
	"github.com/virtual-kubelet/vic/portlayer/qemu/network"
)

// QEMU opens the VCHs of a process on this host. It implements node.Hypervisor.
type QEMU struct{ settings *config.Node }

var _ node.Hypervisor = (*QEMU)(nil)

// New returns a QEMU with the settings of a process.
func New(settings *config.Node) *QEMU { return &QEMU{settings} }

// Check implements node.Hypervisor: VMs would outlive the process, and there is something to boot.
func (q *QEMU) Check() error {
	if err := qemu.OutliveProcess(); err != nil && !q.settings.AllowContainer {
		return fmt.Errorf("%w; run vic node on the host, or set allowContainer in --config", err)
	}
	_, err := GuestImage(q.settings)
	return err
}

// Probe implements node.Hypervisor: there is nothing to look up.
func (q *QEMU) Probe(context.Context, *node.VCH) error { return nil }

// Open implements node.Hypervisor.
func (q *QEMU) Open(ctx context.Context, v *node.VCH, state *statedir.Dir) (*node.Host, error) {
	var subnet netip.Prefix
	if v.Subnet != "" {
		var err error
		if subnet, err = netip.ParsePrefix(v.Subnet); err != nil {
			return nil, fmt.Errorf("subnet: %w", err)
		}
	}
	n, err := OpenNetwork(ctx, NetworkConfig(state, subnet))
	if err != nil {
		return nil, err
	}
	return Open(ctx, Config{Settings: q.settings, VCH: &v.VCH, State: state, Network: n})
}

// Purge implements node.Hypervisor.
func (q *QEMU) Purge(ctx context.Context, state *statedir.Dir) error { return Purge(ctx, state) }

// Purge ends VMs and network of a state directory, whoever made them.
func Purge(ctx context.Context, state *statedir.Dir) error {
	err := qemu.Purge(ctx, state.VCH())
	if os.Geteuid() == 0 {
		err = errors.Join(err, network.Purge(ctx, state.VCH()))
	}
	return err
}

// Config is what a VCH on this host is made of.
type Config struct {
	Settings *config.Node
	VCH      *config.VCH
	State    *statedir.Dir
	// Network is nil for user-mode networking.
	Network *network.Network
}

// Open opens a VCH on this host.
func Open(ctx context.Context, cfg Config) (*node.Host, error) {
	image, err := GuestImage(cfg.Settings)
	if err != nil {
		return nil, err
	}
	limits := cfg.VCH.Limits
	h, err := qemu.Open(ctx, qemu.Config{
		Dir: cfg.State.VCH(), GuestImage: image, Accel: qemu.Accel(cfg.Settings.Accelerator), Network: cfg.Network,
		CPUMilli: limits.Cpu().MilliValue(), MemoryBytes: limits.Memory().Value(), StorageBytes: limits.StorageEphemeral().Value(),
		Pods: limits.Pods().Value(),
	})
	if err != nil {
		return nil, err
	}
	host := &node.Host{
		Hypervisor: h, Scope: qemu.UserScope(), InstanceType: "vic-qemu", System: "QEMU", Network: "user",
		RunsOn:       fmt.Sprintf("QEMU (%s)", h.Accel()),
		Capabilities: podvm.Capabilities{Hypervisor: "qemu", PodNetwork: cfg.Network != nil, HotAddDisk: true},
		Close:        h.Close,
	}
	if cfg.Network != nil {
		host.Scope, host.Network = cfg.Network.Scope(), "bridge"
	}
	return host, nil
}

// GuestImage returns the files of the guest image.
func GuestImage(settings *config.Node) (qemu.GuestImage, error) {
	dir, err := node.GuestImageDir(settings)
	if err != nil {
		return qemu.GuestImage{}, err
	}
	image := qemu.GuestImage{Kernel: filepath.Join(dir, "vmlinuz"), Initrd: filepath.Join(dir, "initrd.zst")}
	for _, path := range []string{image.Kernel, image.Initrd} {
		if _, err := os.Stat(path); err != nil {
			return qemu.GuestImage{}, fmt.Errorf("guest image (--guest-image; make guest-image builds it): %w", err)
		}
	}
	return image, nil
}

// OpenNetwork opens the pods' network. Without root there is none, and QEMU's user mode takes its place.
func OpenNetwork(ctx context.Context, cfg network.Config) (*network.Network, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	return network.Open(ctx, cfg)
}

// NetworkConfig is the network of a state directory. Without a subnet the network chooses one.
func NetworkConfig(state *statedir.Dir, subnet netip.Prefix) network.Config {
	return network.Config{Dir: state.VCH(), Subnet: subnet, UplinkNAT: true}
}
