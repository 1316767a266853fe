//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/portlayer/qemu"
	"github.com/virtual-kubelet/vic/portlayer/qemu/network"
	"github.com/virtual-kubelet/vic/portlayer/vsphere"
	"github.com/virtual-kubelet/vic/standalone/vcenter"
)

// simulation is a simulated vCenter whose VMs run, on a network of this machine.
type simulation struct {
	*vcenter.Server
	network *network.Network
}

// startVCenter starts one that has nothing of a VCH.
func startVCenter(t *testing.T) *simulation {
	t.Helper()
	dir := t.TempDir()
	return serveVCenter(t, vcenter.Config{Dir: dir}, dir)
}

// serveVCenter has the names of the network derive from a directory.
func serveVCenter(t *testing.T, c vcenter.Config, networkDir string) *simulation {
	t.Helper()
	n, err := network.Open(t.Context(), network.Config{Dir: networkDir, UplinkNAT: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.Down(context.Background())) })
	c.Accel, c.Network = qemu.Accel(shared.accel(t)), vcenter.Taps{Network: n}
	vc, err := vcenter.Start(t.Context(), c)
	require.NoError(t, err)
	t.Cleanup(vc.Close)
	return &simulation{vc, n}
}

// settings are those of a node whose VCH is made by `vic vch create`.
func (v *simulation) settings(t *testing.T) []string {
	t.Helper()
	return append(v.connection(t), "    pool: /DC0/host/DC0_C0/Resources/vic", "    folder: /DC0/vm/vic", `    bootISO: "[LocalDS_0] isos/boot.iso"`)
}

// connection are the settings that every node has whose pods run there.
func (v *simulation) connection(t *testing.T) []string {
	t.Helper()
	to, guests := v.Target(), netip.AddrPortFrom(v.network.Gateway(), uint16(freePort(t)))
	return []string{
		fmt.Sprintf("  subnet: %s", v.network.Subnet()),
		"  vsphere:",
		"    address: " + to.Address,
		"    user: " + to.User,
		"    passwordFile: " + to.PasswordFile,
		"    caFile: " + to.CAFile,
		"    network: " + vcenter.PortGroup,
		fmt.Sprintf("    gateway: %s", v.network.Gateway()),
		fmt.Sprintf("    guestListen: %q", guests),
		fmt.Sprintf("    advertiseAddresses: [%q]", guests),
	}
}

// onVCenter gives the node a simulated vCenter in its state directory, and returns its settings. The vCenter goes on when
// the node is killed.
func (m *member) onVCenter(t *testing.T) []string {
	t.Helper()
	m.vcenter = serveVCenter(t, vcenter.Config{Dir: filepath.Join(m.dir, "vcenter"), BootISO: bin("guest/boot.iso")}, filepath.Join(m.dir, "vch"))
	t.Cleanup(func() { // before the vCenter's end
		if m.cmd != nil {
			m.kill()
		}
	})
	return append(m.vcenter.connection(t), fmt.Sprintf("    bootISO: %q", vcenter.BootISO))
}

// podVMs are those that the vCenter has, in the order of `vic podvm ls`.
func (v *simulation) podVMs(t *testing.T) []vm {
	t.Helper()
	session, err := vsphere.Connect(t.Context(), v.Target())
	require.NoError(t, err)
	defer session.Close(t.Context())
	found, err := vsphere.List(t.Context(), session, "", "")
	require.NoError(t, err)
	processes, err := vcenter.Processes()
	require.NoError(t, err)
	vms := []vm{}
	for uuid, f := range found {
		id := f.Spec.Owner
		vms = append(vms, vm{
			Name: id.Name, Namespace: id.Namespace, UID: id.UID, State: string(f.State), IP: f.Spec.NICs[0].Addresses[0].Addr().String(),
			PID: processes[uuid], MemoryBytes: f.Spec.Size.MemoryBytes, Created: f.CreatedAt,
		})
	}
	slices.SortFunc(vms, func(a, b vm) int {
		return strings.Compare(a.Namespace+"/"+a.Name+"/"+a.UID, b.Namespace+"/"+b.Name+"/"+b.UID)
	})
	return vms
}

// waitVMs waits until as many pods of a namespace have a VM, and returns their instance UUIDs by name.
func (v *simulation) waitVMs(t *testing.T, c *cluster, ns string, count int) map[string]string {
	t.Helper()
	var of map[string]string
	c.eventually(t, fmt.Sprintf("%d VMs of %s", count, ns), func(ctx context.Context) (bool, string) {
		all, err := v.VMs(ctx)
		require.NoError(t, err)
		of = map[string]string{}
		for name, uuid := range all {
			if rest, ok := strings.CutPrefix(name, ns+"-"); ok {
				of[rest[:strings.LastIndexByte(rest, '-')]] = uuid
			}
		}
		return len(of) == count, fmt.Sprint(all)
	})
	return of
}
