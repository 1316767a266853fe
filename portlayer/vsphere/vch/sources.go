package vch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// securityPolicy is what a port group lets a VM do; nil is what is not known.
type securityPolicy struct{ promiscuous, macChanges, forgedTransmits *bool }

// sources looks at what keeps a pod from sending under a neighbour's hardware address, and from hearing what is not for it.
func (c *checker) sources(ctx context.Context, scope string, network types.ManagedObjectReference) {
	subject := "source checks of scope " + scope
	policy, err := c.policyOf(ctx, network)
	switch open := policy.open(); {
	case err != nil:
		c.note(subject, "", err)
	case policy == (securityPolicy{}):
		c.note(subject, "can't be read here: set Promiscuous mode, MAC address changes and Forged transmits to Reject", nil)
	case len(open) > 0:
		c.note(subject, "", fmt.Errorf("a pod can take a neighbour's place: set %s to Reject in the port group's security policy", strings.Join(open, ", ")))
	default:
		c.note(subject, "hardware addresses are checked; IPv4 and IPv6 addresses are not, but by NSX SpoofGuard", nil)
	}
}

// open are the settings that let a VM do what no pod needs.
func (p securityPolicy) open() []string {
	var open []string
	for _, s := range []struct {
		name  string
		allow *bool
	}{{"Promiscuous mode", p.promiscuous}, {"MAC address changes", p.macChanges}, {"Forged transmits", p.forgedTransmits}} {
		if s.allow != nil && *s.allow {
			open = append(open, s.name)
		}
	}
	return open
}

func (c *checker) policyOf(ctx context.Context, network types.ManagedObjectReference) (securityPolicy, error) {
	read := property.DefaultCollector(c.session.Client())
	switch network.Type {
	case "DistributedVirtualPortgroup":
		var facts mo.DistributedVirtualPortgroup
		if err := read.RetrieveOne(ctx, network, []string{"config.defaultPortConfig"}, &facts); err != nil {
			return securityPolicy{}, err
		}
		port, _ := facts.Config.DefaultPortConfig.(*types.VMwareDVSPortSetting)
		return ofDistributed(port), nil
	case "Network":
		return c.ofHosts(ctx, read, network)
	}
	return securityPolicy{}, nil // NSX has its own
}

func ofDistributed(port *types.VMwareDVSPortSetting) securityPolicy {
	var p securityPolicy
	if port == nil {
		return p
	}
	if s := port.SecurityPolicy; s != nil {
		p = securityPolicy{valueOf(s.AllowPromiscuous), valueOf(s.MacChanges), valueOf(s.ForgedTransmits)}
	}
	if m := port.MacManagementPolicy; m != nil { // newer than, and in place of, the other
		p = securityPolicy{cmp.Or(m.AllowPromiscuous, p.promiscuous), cmp.Or(m.MacChanges, p.macChanges), cmp.Or(m.ForgedTransmits, p.forgedTransmits)}
	}
	return p
}

func valueOf(p *types.BoolPolicy) *bool {
	if p == nil {
		return nil
	}
	return p.Value
}

// ofHosts is what any host allows in its port group of that name; hosts that the account can't read say nothing.
func (c *checker) ofHosts(ctx context.Context, read *property.Collector, network types.ManagedObjectReference) (securityPolicy, error) {
	var facts mo.Network
	if err := read.RetrieveOne(ctx, network, []string{"name", "host"}, &facts); err != nil {
		return securityPolicy{}, err
	}
	var all securityPolicy
	for _, ref := range facts.Host {
		var host mo.HostSystem
		if err := read.RetrieveOne(ctx, ref, []string{"config.network.portgroup"}, &host); err != nil || host.Config == nil || host.Config.Network == nil {
			continue // most accounts can't
		}
		for _, group := range host.Config.Network.Portgroup {
			if s := group.ComputedPolicy.Security; group.Spec.Name == facts.Name && s != nil {
				all = all.and(securityPolicy{s.AllowPromiscuous, s.MacChanges, s.ForgedTransmits})
			}
		}
	}
	if ctx.Err() != nil {
		return all, errors.New("hosts do not answer")
	}
	return all, nil
}

// and allows what either does.
func (p securityPolicy) and(o securityPolicy) securityPolicy {
	either := func(a, b *bool) *bool {
		if a == nil || b != nil && *b {
			return b
		}
		return a
	}
	return securityPolicy{either(p.promiscuous, o.promiscuous), either(p.macChanges, o.macChanges), either(p.forgedTransmits, o.forgedTransmits)}
}
