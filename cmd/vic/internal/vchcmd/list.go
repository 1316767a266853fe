package vchcmd

import (
	"context"
	"fmt"
	"io"
	"math"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/virtual-kubelet/vic/cmd/vic/internal/cli"
	"github.com/virtual-kubelet/vic/cmd/vic/internal/podvmview"
	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/vsphere"
)

// inspectTimeout bounds the look at one VCH.
const inspectTimeout = time.Minute

// vchView is a VCH as users and scripts see it.
type vchView struct {
	Node    string `json:"node"`
	VCH     string `json:"vch"`
	Address string `json:"address"`
	// Error is why nothing else is known.
	Error     string `json:"error,omitempty"`
	Pool      string `json:"pool,omitempty"`
	Folder    string `json:"folder,omitempty"`
	Datastore string `json:"datastore,omitempty"`

	CPUMilli         int64 `json:"cpuMilli"`
	MemoryBytes      int64 `json:"memoryBytes"`
	FreeMemoryBytes  int64 `json:"freeMemoryBytes"`
	StorageBytes     int64 `json:"storageBytes"`
	FreeStorageBytes int64 `json:"freeStorageBytes"`
	// VMs are the pods' that the VCH has, Running those of them that run.
	VMs     int               `json:"vms"`
	Running int               `json:"running"`
	PodVMs  []podvmview.PodVM `json:"podVMs,omitempty"`
}

func newListCommand() *cobra.Command {
	var flags vchFlags
	var output string
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the VCHs on vSphere that a node's configuration names, with what they offer and hold",
		Long: `Lists the VCHs on vSphere that a node's configuration names, with what vSphere says of them. It needs no API server.
To list the VCHs of a cluster, use kubectl get virtualcontainerhosts.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := flags.entries()
			if err != nil {
				return err
			}
			var views []vchView
			for _, e := range all {
				views = append(views, inspectVCH(cmd.Context(), e))
			}
			return printVCHs(cmd.OutOrStdout(), output, views)
		},
	}
	flags.add(cmd)
	cli.AddOutputFlag(cmd, &output)
	return cmd
}

func newInspectCommand() *cobra.Command {
	var flags vchFlags
	var output string
	cmd := &cobra.Command{
		Use:   "inspect",
		Short: "Show where a VCH is on vSphere, what it offers, and its pod VMs",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			e, err := flags.entry()
			if err != nil {
				return err
			}
			view := inspectVCH(cmd.Context(), e)
			if err := printVCH(cmd.OutOrStdout(), output, view); err != nil || view.Error == "" {
				return err
			}
			return fmt.Errorf("VCH of node %s: %s", view.Node, view.Error)
		},
	}
	flags.add(cmd)
	cli.AddFormFlag(cmd, &output, cli.OutputText, cli.OutputJSON)
	return cmd
}

// inspectVCH asks vSphere; what goes wrong is in the view.
func inspectVCH(ctx context.Context, e *config.Entry) vchView {
	v := vchView{Node: e.NodeName, VCH: e.Name, Address: e.VSphere.Address}
	ctx, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	var found vsphere.Inspection
	err := withSession(ctx, e, func(ctx context.Context, cfg vsphere.Config) (err error) {
		found, err = vsphere.Inspect(ctx, cfg)
		return err
	})
	if err != nil {
		v.Error = err.Error()
		return v
	}
	c := found.Capacity
	v.Pool, v.Folder, v.Datastore = found.Pool, found.Folder, found.Datastore
	v.CPUMilli, v.MemoryBytes, v.FreeMemoryBytes = c.CPUMilli, c.MemoryBytes, c.FreeMemoryBytes
	v.StorageBytes, v.FreeStorageBytes = c.StorageBytes, c.FreeStorageBytes
	for _, vm := range found.VMs {
		v.VMs++
		if vm.State == portlayer.StateRunning {
			v.Running++
		}
	}
	v.PodVMs = podvmview.All(found.VMs)
	return v
}

func printVCHs(w io.Writer, output string, views []vchView) error {
	if output == cli.OutputJSON {
		return cli.PrintJSON(w, append([]vchView{}, views...))
	}
	t := tabwriter.NewWriter(cli.NewPlainWriter(w), 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "NODE\tADDRESS\tCPU\tMEMORY\tFREE\tSTORAGE FREE\tVMS\tRUNNING\tSTATE")
	for _, v := range views {
		if v.Error != "" {
			fmt.Fprintf(t, "%s\t%s\t-\t-\t-\t-\t-\t-\t%s\n", v.Node, v.Address, v.Error)
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\tok\n", v.Node, v.Address, cores(v.CPUMilli), gib(v.MemoryBytes), gib(v.FreeMemoryBytes),
			gib(v.FreeStorageBytes), v.VMs, v.Running)
	}
	return t.Flush()
}

// cores are processors as Kubernetes writes them, such as 4 or 1743m.
func cores(milli int64) string { return resource.NewMilliQuantity(milli, resource.DecimalSI).String() }

func gib(bytes int64) string {
	return strconv.FormatFloat(math.Round(float64(bytes)/(1<<30)*10)/10, 'f', -1, 64) + "Gi"
}

func printVCH(w io.Writer, output string, v vchView) error {
	if output == cli.OutputJSON {
		return cli.PrintJSON(w, v)
	}
	t := tabwriter.NewWriter(cli.NewPlainWriter(w), 0, 8, 2, ' ', 0)
	for _, line := range []struct{ key, value string }{
		{"Node", v.Node},
		{"VCH", v.VCH},
		{"Address", v.Address},
		{"Resource pool", v.Pool},
		{"VM folder", v.Folder},
		{"Datastore", v.Datastore},
		{"CPU", cores(v.CPUMilli)},
		{"Memory", fmt.Sprintf("%s, %s free", gib(v.MemoryBytes), gib(v.FreeMemoryBytes))},
		{"Storage", fmt.Sprintf("%s, %s free", gib(v.StorageBytes), gib(v.FreeStorageBytes))},
		{"Pod VMs", fmt.Sprintf("%d, %d of them running", v.VMs, v.Running)},
	} {
		fmt.Fprintf(t, "%s:\t%s\n", line.key, line.value)
	}
	if err := t.Flush(); err != nil || v.VMs == 0 {
		return err
	}
	fmt.Fprintln(w)
	return podvmview.Table(w, v.PodVMs)
}
