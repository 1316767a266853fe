package podvmcmd

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/virtual-kubelet/vic/cmd/vic/internal/cli"
	"github.com/virtual-kubelet/vic/cmd/vic/internal/podvmview"
	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
	"github.com/virtual-kubelet/vic/portlayer/podvm/rundir"
	"github.com/virtual-kubelet/vic/portlayer/qemu"
)

// podVMDetails is all that is known of one pod VM. Scripts read it, so names stay.
type podVMDetails struct {
	podvmview.PodVM
	Node          string          `json:"node"`
	Generation    int64           `json:"generation"`
	Version       uint64          `json:"version"`
	UUID          string          `json:"uuid"`
	Started       *time.Time      `json:"started,omitempty"`
	StopReason    string          `json:"stopReason,omitempty"`
	VCPUs         int             `json:"vcpus"`
	CPUMilli      int64           `json:"cpuMilli"`
	ResidentBytes int64           `json:"residentBytes"`
	Held          bool            `json:"held"`
	Owner         uint32          `json:"owner"`
	ControlGroups []string        `json:"controlGroups,omitempty"`
	Directory     string          `json:"directory"`
	ConsoleBytes  int64           `json:"consoleBytes"`
	Disks         []diskView      `json:"disks"`
	Interfaces    []interfaceView `json:"interfaces"`
	Containers    []string        `json:"containers"`
	Guest         *wire.Snapshot  `json:"guest,omitempty"`
	guestError    error           // why Guest can't be shown
}

type diskView struct {
	Serial    string `json:"serial"`
	Kind      string `json:"kind"`
	SizeBytes int64  `json:"sizeBytes,omitempty"`
	UsedBytes int64  `json:"usedBytes"`
	Path      string `json:"path"`
}

type interfaceView struct {
	Scope   string `json:"scope"`
	MAC     string `json:"mac"`
	Address string `json:"address"`
	Gateway string `json:"gateway"`
}

func newInspectCommand() *cobra.Command {
	var dir, output string
	cmd := &cobra.Command{
		Use:   "inspect " + podVMArg,
		Short: "Show everything that is known about a pod VM; needs no API server",
		Long: "Show what the hypervisor holds of a pod VM, and the last snapshot of its guest. The command changes nothing and uses no " +
			"network.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			state, vm, err := findPodVM(dir, args[0])
			if err != nil {
				return err
			}
			d, err := qemu.Inspect(state.VCH(), vm.ID())
			if err != nil {
				return err
			}
			view := detailsOf(d)
			view.Guest, view.guestError = lastSnapshot(state.Runs(), vm.ID())
			return printPodVM(cmd.OutOrStdout(), output, view)
		},
	}
	cli.AddDirFlag(cmd.Flags(), &dir)
	cli.AddFormFlag(cmd, &output, cli.OutputText, cli.OutputJSON, cli.OutputYAML)
	return cmd
}

// lastSnapshot is what the guest said last; nil where it said nothing yet.
func lastSnapshot(runs, uid string) (*wire.Snapshot, error) {
	store, err := rundir.Open(rundir.Config{Root: runs})
	if err != nil {
		return nil, err
	}
	records, err := store.Dir(uid)
	if err != nil {
		return nil, err
	}
	s, err := records.LoadSnapshot()
	if errors.Is(err, rundir.ErrNotFound) {
		return nil, nil
	}
	return s, err
}

func detailsOf(d qemu.Details) podVMDetails {
	owner, size := d.Spec.Owner, d.Spec.Size
	v := podVMDetails{
		PodVM: podvmview.Of(d.VM), Node: owner.Node, Generation: owner.Generation, Version: d.Version, UUID: d.UUID,
		StopReason: d.StopReason, VCPUs: size.VCPUs, CPUMilli: size.CPUMilli, ResidentBytes: d.ResidentBytes, Held: d.Held,
		Owner: d.Owner, ControlGroups: d.Groups, Directory: d.Directory, ConsoleBytes: d.ConsoleBytes,
		Disks: []diskView{}, Interfaces: []interfaceView{}, Containers: podvm.Containers(d.Spec),
	}
	if !d.StartedAt.IsZero() {
		v.Started = &d.StartedAt
	}
	for _, disk := range d.Disks {
		v.Disks = append(v.Disks, diskView{disk.Serial, string(disk.Kind), disk.SizeBytes, disk.UsedBytes, disk.Path})
	}
	for _, nic := range d.Spec.NICs {
		v.Interfaces = append(v.Interfaces, interfaceView{nic.Scope, nic.MAC, joined(nic.Addresses), joined(nic.Gateways)})
	}
	return v
}

// joined is a list of addresses as people read it.
func joined[A fmt.Stringer](addresses []A) string {
	texts := make([]string, 0, len(addresses))
	for _, a := range addresses {
		texts = append(texts, a.String())
	}
	return strings.Join(texts, ", ")
}

func printPodVM(w io.Writer, output string, v podVMDetails) error {
	switch output {
	case cli.OutputJSON:
		return cli.PrintJSON(w, v)
	case cli.OutputYAML:
		b, err := yaml.Marshal(v)
		if err != nil {
			return err
		}
		_, err = w.Write(b)
		return err
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	v.writePower(t)
	v.writeDevices(t)
	v.writeGuest(t)
	return t.Flush()
}

func (v podVMDetails) writePower(w io.Writer) {
	fmt.Fprintf(w, "Pod\t%s/%s\nUID\t%s\nNode\t%s\nState\t%s\n", v.Namespace, v.Name, v.UID, v.Node, v.State)
	if v.StopReason != "" {
		fmt.Fprintf(w, "Stopped because\t%s\n", cli.Plain(v.StopReason))
	}
	fmt.Fprintf(w, "Created\t%s\n", v.Created.Format(time.RFC3339))
	if v.Started != nil {
		fmt.Fprintf(w, "Started\t%s\n", v.Started.Format(time.RFC3339))
	}
	if v.PID != 0 {
		fmt.Fprintf(w, "QEMU\tprocess %d, user %d, %d MiB resident\n", v.PID, v.Owner, v.ResidentBytes>>20)
	}
	held := "no vic runs that has it"
	if v.Held {
		held = "a vic that runs"
	}
	fmt.Fprintf(w, "Held by\t%s\nSize\t%d CPUs, %d MiB\nDirectory\t%s\n", held, v.VCPUs, v.MemoryBytes>>20, v.Directory)
}

func (v podVMDetails) writeDevices(w io.Writer) {
	for _, n := range v.Interfaces {
		fmt.Fprintf(w, "Interface\t%s, %s, gateway %s, scope %s\n", n.Address, n.MAC, n.Gateway, n.Scope)
	}
	for _, d := range v.Disks {
		of := ""
		if d.Kind == string(portlayer.DiskScratch) {
			of = fmt.Sprintf(" of %d MiB", d.SizeBytes>>20)
		}
		fmt.Fprintf(w, "Disk\t%s, %s, %d MiB%s used: %s\n", d.Serial, d.Kind, d.UsedBytes>>20, of, d.Path)
	}
	fmt.Fprintf(w, "Console\t%d bytes kept (vic podvm console %s)\n", v.ConsoleBytes, v.UID)
}

// writeGuest shows the guest's own words, which are not to be trusted by a terminal.
func (v podVMDetails) writeGuest(w io.Writer) {
	g := v.Guest
	switch {
	case v.guestError != nil:
		fmt.Fprintf(w, "Guest\tits snapshot can't be read: %v\n", v.guestError)
		return
	case g == nil:
		fmt.Fprintln(w, "Guest\thas said nothing yet")
		return
	}
	fmt.Fprintf(w, "Guest\t%s at %s, boot %s\n", cli.Plain(string(g.Phase)), g.Time.Format(time.RFC3339), cli.Plain(g.BootID))
	for _, c := range g.Containers {
		fmt.Fprintf(w, "Container\t%s\n", cli.Plain(containerLine(c)))
	}
}

func containerLine(c wire.ContainerStatus) string {
	words := []string{c.Name + " " + string(c.State)}
	if c.Reason != "" {
		words = append(words, c.Reason)
	}
	if t := c.Current; t != nil {
		words = append(words, fmt.Sprintf("%s, exit code %d", t.Reason, t.ExitCode))
	}
	return strings.Join(append(words, fmt.Sprintf("%d restarts", c.RestartCount)), ", ")
}
