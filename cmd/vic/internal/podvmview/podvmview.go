package podvmview

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/virtual-kubelet/vic/portlayer"
)

// PodVM is a pod VM as users and scripts see it. Names stay.
type PodVM struct {
	Name        string    `json:"name"`
	Namespace   string    `json:"namespace"`
	UID         string    `json:"uid"`
	State       string    `json:"state"`
	IP          string    `json:"ip"`
	PID         int       `json:"pid"`
	MemoryBytes int64     `json:"memoryBytes"`
	Created     time.Time `json:"created"`
}

// Of shows a VM.
func Of(vm portlayer.VM) PodVM {
	owner := vm.Spec.Owner
	v := PodVM{
		Name: owner.Name, Namespace: owner.Namespace, UID: owner.UID, State: string(vm.State), PID: vm.PID,
		MemoryBytes: vm.Spec.Size.MemoryBytes, Created: vm.CreatedAt,
	}
	for _, nic := range vm.Spec.NICs {
		for _, a := range nic.Addresses {
			v.IP = cmp.Or(v.IP, a.Addr().String())
		}
	}
	return v
}

// All shows VMs, sorted by namespace and name.
func All(vms []portlayer.VM) []PodVM {
	views := make([]PodVM, 0, len(vms))
	for _, vm := range vms {
		views = append(views, Of(vm))
	}
	slices.SortFunc(views, func(a, b PodVM) int {
		return strings.Compare(a.Namespace+"/"+a.Name+"/"+a.UID, b.Namespace+"/"+b.Name+"/"+b.UID)
	})
	return views
}

// Table writes a table of VMs.
func Table(w io.Writer, views []PodVM) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "NAMESPACE\tNAME\tSTATE\tIP\tPID\tMEMORY\tAGE\tUID")
	for _, v := range views {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%dMi\t%s\t%s\n", v.Namespace, v.Name, v.State, v.IP, pidText(v.PID), v.MemoryBytes>>20,
			time.Since(v.Created).Round(time.Second), v.UID)
	}
	return t.Flush()
}

// pidText is a dash for a VM that does not run.
func pidText(pid int) string {
	if pid == 0 {
		return "-"
	}
	return strconv.Itoa(pid)
}
