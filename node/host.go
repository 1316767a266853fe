package node

import (
	"context"

	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/node/statedir"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
)

// Host is what the pods of a node run on: all that differs by hypervisor.
type Host struct {
	Hypervisor   portlayer.Hypervisor
	Scope        portlayer.ScopeConfig
	Capabilities podvm.Capabilities
	// InstanceType, System and Network describe the node: a label, what its OS image ends with, and how pods are reached (the label
	// podNetworkLabel).
	InstanceType, System, Network string
	// RunsOn names it to people.
	RunsOn string
	// Run has what must run beside it, until ctx ends; nil is nothing.
	Run func(ctx context.Context) error
	// Close lets go of it. Its VMs run on.
	Close func()
}

// Hypervisor opens the VCHs of one kind.
type Hypervisor interface {
	// Check returns why no such VCH can be served by this process, before anything is touched.
	Check() error
	// Probe returns why a VCH could not be opened, and opens nothing.
	Probe(ctx context.Context, v *VCH) error
	// Open opens what the pods of a VCH run on. Its state is in a directory of its own.
	Open(ctx context.Context, v *VCH, state *statedir.Dir) (*Host, error)
	// Purge ends what a VCH has left running on this host, whoever began it.
	Purge(ctx context.Context, state *statedir.Dir) error
}

// Hypervisors are all kinds that a process can serve.
type Hypervisors struct{ QEMU, VSphere Hypervisor }

// of returns the one that a VCH is of.
func (h Hypervisors) of(v *config.VCH) Hypervisor {
	if v.VSphere != nil {
		return h.VSphere
	}
	return h.QEMU
}

// Guests is where the guests of all VCHs of a process dial in that have no place of their own.
type Guests interface {
	// Listen opens that place, before the first VCH.
	Listen(ctx context.Context, at GuestsAt) error
	// Serve returns when ctx ends, or what ended the place before.
	Serve(ctx context.Context) error
	// Close closes the place, and the channels of guests.
	Close()
}

// GuestsAt says where guests dial in, and who keeps the authority that they trust.
type GuestsAt struct {
	// Address is HOST:PORT.
	Address string
	// State is the process's.
	State *statedir.Dir
	// Authority keeps it; nil keeps it in a file of State.
	Authority AuthorityKeeper
}

// AuthorityKeeper returns the authority that guests trust, in PEM. Where none is kept, it keeps what made returns.
type AuthorityKeeper func(ctx context.Context, made func() ([]byte, error)) ([]byte, error)
