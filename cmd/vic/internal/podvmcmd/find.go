package podvmcmd

import (
	"fmt"
	"slices"
	"strings"

	"github.com/virtual-kubelet/vic/cmd/vic/internal/cli"
	"github.com/virtual-kubelet/vic/node/statedir"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/qemu"
	"github.com/virtual-kubelet/vic/standalone"
)

// podVMArg is how users name a pod VM.
const podVMArg = "[NAMESPACE/]POD|UID"

// findPodVM returns the one pod VM that a user means, and the state directory dir that it is in. *qemu.DamagedError where its
// record can't be read.
func findPodVM(dir, name string) (*statedir.Dir, portlayer.VM, error) {
	state, err := cli.OpenExisting(dir)
	if err != nil {
		return nil, portlayer.VM{}, err
	}
	vms, damaged, err := qemu.List(state.VCH())
	if err != nil {
		return nil, portlayer.VM{}, err
	}
	for _, d := range damaged {
		if d.UID == name {
			return state, portlayer.VM{}, d
		}
	}
	vm, err := choosePodVM(vms, name)
	if runs, _ := standalone.SimulatorRuns(state); runs && err != nil { // it only explains
		err = fmt.Errorf("%w; only `vic podvm ls` shows VMs on a simulated vCenter", err)
	}
	return state, vm, err
}

func choosePodVM(vms []portlayer.VM, name string) (portlayer.VM, error) {
	if i := slices.IndexFunc(vms, func(vm portlayer.VM) bool { return vm.ID() == name }); i >= 0 {
		return vms[i], nil
	}
	namespace, pod, qualified := strings.Cut(name, "/")
	if !qualified {
		namespace, pod = "", name
	}
	var found []portlayer.VM
	for _, vm := range vms {
		id := vm.Spec.Owner
		if id.Name == pod && (!qualified || id.Namespace == namespace) {
			found = append(found, vm)
		}
	}
	switch len(found) {
	case 0:
		return portlayer.VM{}, fmt.Errorf("there is no pod VM %q (`vic podvm ls` lists them)", name)
	case 1:
		return found[0], nil
	}
	var each []string
	for _, vm := range found {
		each = append(each, vm.Spec.Owner.Namespace+"/"+vm.Spec.Owner.Name+" "+vm.ID())
	}
	return portlayer.VM{}, cli.Misused("%q is the name of %d pod VMs, say which: %s", name, len(found), strings.Join(each, ", "))
}
