package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/spf13/cobra"

	"github.com/virtual-kubelet/vic/node/statedir"
	"github.com/virtual-kubelet/vic/persona"
	"github.com/virtual-kubelet/vic/portlayer/qemu"
	"github.com/virtual-kubelet/vic/provider"
	"github.com/virtual-kubelet/vic/standalone"
)

// defaultNodeName is what other tools expect `vic up` to call its node.
const defaultNodeName = "vic-local"

// upOptions are the flags of `vic up`.
type upOptions struct {
	dir         string
	apiPort     int
	kubeletPort int
	keepPods    bool
	purge       bool
	// simulator has pods run on a simulated vCenter.
	simulator bool
	node      nodeFlags
	registry  registryFlags
	limits    imageLimitFlags
}

func newUpCommand() *cobra.Command {
	var o upOptions
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run a cluster of one node on this machine",
		Long: `Runs a control plane and a node on this machine, in the foreground, until SIGINT or SIGTERM.

Everything is kept under one directory (--dir), so several run side by side. At the end pods end within their grace
periods, or lose their power at a second signal, and nothing is left running; their objects stay, and they run again at
the next vic up.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			if o.purge {
				return purge(cmd.Context(), o.dir)
			}
			return up(cmd.Context(), cmd.OutOrStdout(), o)
		},
	}
	addDirFlag(cmd, &o.dir)
	f := cmd.Flags()
	f.IntVar(&o.apiPort, "api-port", 0, "port of the API server on loopback; 0 keeps the last one, or takes a free one")
	f.IntVar(&o.kubeletPort, "kubelet-port", 0, fmt.Sprintf("port of the node's kubelet API; 0 takes %d, or a free one where that is in use", kubeletPort))
	f.BoolVar(&o.keepPods, "keep-pods", false, "leave pod VMs running at the end, for the next vic up to adopt")
	f.BoolVar(&o.purge, "purge", false, "stop and remove everything of the directory, and do nothing else")
	f.BoolVar(&o.simulator, "vsphere-simulator", false, "have pods run on a vCenter that is simulated, with VMs that are QEMU's (docs/vsphere.md)")
	o.node.add(cmd)
	o.registry.add(cmd)
	o.limits.add(cmd)
	return cmd
}

func (o *upOptions) validate() error {
	if o.dir == "" {
		return misused("--dir is empty")
	}
	for flag, port := range map[string]int{"--api-port": o.apiPort, "--kubelet-port": o.kubeletPort} {
		if port < 0 || port > 65535 {
			return misused("%s %d is no port (0 to 65535)", flag, port)
		}
	}
	_, err := o.images()
	return errors.Join(o.node.validate(), err)
}

// kubeletListen is where the node serves the kubelet's API: on the port that a user gave, else where tools expect it.
func (o *upOptions) kubeletListen(address netip.Addr) provider.Listen {
	port := cmp.Or(o.kubeletPort, kubeletPort)
	return provider.Listen{
		Address: netip.AddrPortFrom(address, uint16(port)).String(), OrAnyPort: o.kubeletPort == 0, Setting: "--kubelet-port",
	}
}

// images is the configuration of the image store, but for its directory.
func (o *upOptions) images() (persona.Config, error) {
	config, err := o.registry.config()
	if err != nil {
		return persona.Config{}, err
	}
	config.Limits, err = o.limits.limits()
	return config, err
}

// purge stops and removes everything of a state directory, also what a killed vic left.
func purge(ctx context.Context, dir string) (err error) {
	named, err := statedir.At(dir)
	if err != nil {
		return err
	}
	if _, err := os.Stat(named.Path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	state, err := statedir.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, state.Close()) }()
	binary, err := besideProgram("vic-controlplane")
	if err != nil {
		return err
	}
	several, err := state.VCHs()
	if err != nil {
		return err
	}
	for _, one := range several {
		if err := purgeVCH(ctx, one); err != nil {
			return err
		}
	}
	if err := errors.Join(standalone.StopControlPlane(ctx, binary, state), standalone.StopSimulator(ctx, state)); err != nil {
		return err
	}
	return purgeVCH(ctx, state)
}

// purgeVCH ends what runs on this machine of a VCH, and removes its directory.
func purgeVCH(ctx context.Context, state *statedir.Dir) error {
	if err := errors.Join(qemu.Purge(ctx, state.VCH()), purgeNetwork(ctx, state)); err != nil {
		return err
	}
	return state.Purge()
}
