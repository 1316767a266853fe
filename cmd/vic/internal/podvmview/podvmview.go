package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/virtual-kubelet/vic/node/statedir"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/qemu"
)

func newPodVMCommand() *cobra.Command {
	return newGroup("podvm", "Show what the hypervisor really holds",
		newPodVMListCommand(), newPodVMInspectCommand(), newPodVMConsoleCommand(), newPodVMRemoveCommand())
}

// podVMView is a pod VM as users and scripts see it.
type podVMView struct {
	Name        string    `json:"name"`
	Namespace   string    `json:"namespace"`
	UID         string    `json:"uid"`
	State       string    `json:"state"`
	IP          string    `json:"ip"`
	PID         int       `json:"pid"`
	MemoryBytes int64     `json:"memoryBytes"`
	Created     time.Time `json:"created"`
}

func newPodVMListCommand() *cobra.Command {
	var dir, output string
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List pod VMs; needs no API server",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			state, err := openExisting(dir)
			if err != nil {
				return err
			}
			vms, err := listPodVMs(cmd.Context(), state)
			if err != nil {
				return err
			}
			return printPodVMs(cmd.OutOrStdout(), output, vms)
		},
	}
	addDirFlag(cmd, &dir)
	addOutputFlag(cmd, &output)
	return cmd
}

// listPodVMs are the pod VMs that QEMU holds for a state directory, and those of its simulated vCenter.
func listPodVMs(ctx context.Context, state *statedir.Dir) ([]portlayer.VM, error) {
	vms, err := qemu.List(state.VCH())
	if err != nil {
		return nil, err
	}
	more, err := listSimulated(ctx, state)
	return append(vms, more...), err
}

func printPodVMs(w io.Writer, output string, vms []portlayer.VM) error {
	views := podVMViews(vms)
	if output == outputJSON {
		return printJSON(w, views)
	}
	return printPodVMViews(w, views)
}

// podVMViews are sorted by namespace and name.
func podVMViews(vms []portlayer.VM) []podVMView {
	views := make([]podVMView, 0, len(vms))
	for _, vm := range vms {
		views = append(views, viewOf(vm))
	}
	slices.SortFunc(views, func(a, b podVMView) int {
		return strings.Compare(a.Namespace+"/"+a.Name+"/"+a.UID, b.Namespace+"/"+b.Name+"/"+b.UID)
	})
	return views
}

func printPodVMViews(w io.Writer, views []podVMView) error {
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

func viewOf(vm portlayer.VM) podVMView {
	owner := vm.Spec.Owner
	v := podVMView{
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

const (
	outputTable = "table"
	outputText  = "text"
	outputJSON  = "json"
	outputYAML  = "yaml"
)

func addDirFlag(cmd *cobra.Command, dir *string) {
	def, err := statedir.DefaultPath()
	if err != nil {
		def = ""
	}
	cmd.Flags().StringVar(dir, "dir", def, "state directory")
}

func addOutputFlag(cmd *cobra.Command, output *string) {
	addFormFlag(cmd, output, outputTable, outputJSON)
}

// addFormFlag lets users choose one of several forms of the result; the first is the default.
func addFormFlag(cmd *cobra.Command, output *string, forms ...string) {
	all := strings.Join(forms, ", ")
	cmd.Flags().StringVarP(output, "output", "o", forms[0], "form of the result: "+all)
	pre := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		if !slices.Contains(forms, *output) {
			return misused("--output %q is none of %s", *output, all)
		}
		if pre != nil {
			return pre(cmd, args)
		}
		return nil
	}
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
