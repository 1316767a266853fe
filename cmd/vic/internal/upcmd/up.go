package upcmd

import (
	"context"
	"fmt"
	"io"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/cmd/vic/internal/cli"
	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/node"
	"github.com/virtual-kubelet/vic/portlayer/qemu"
	"github.com/virtual-kubelet/vic/standalone"
)

// defaultNodeName is what other tools expect `vic up` to call its node.
const defaultNodeName = "vic-local"

// options are the flags of `vic up`.
type options struct {
	settings *cli.Settings
	cluster  standalone.Config
	purge    bool
}

// NewCommand returns `vic up`.
func NewCommand() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run a cluster of one node on this host",
		Long: `Runs a control plane and a node on this host, in the foreground, until SIGINT or SIGTERM.

Everything is kept under one directory (--dir), so several can run side by side. At the signal, pods end within their grace
periods; a second signal cuts their power. Nothing is left running, but for VMs with --keep-pods. The pods' objects stay, and
the next vic up runs them again.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.complete(); err != nil {
				return err
			}
			if o.purge {
				return standalone.Purge(cmd.Context(), o.settings.Node.Dir)
			}
			return o.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	o.add(cmd)
	return cmd
}

func (o *options) add(cmd *cobra.Command) {
	n := config.DefaultNode()
	n.Dir = cli.DefaultDir()
	// The only node of a cluster must take all pods.
	n.VCH = &config.Entry{Name: defaultNodeName, VCH: config.VCH{Taints: &[]corev1.Taint{}}}
	o.settings = cli.NewSettings(cmd.Flags(), n)
	o.settings.Dir()
	f := cmd.Flags()
	f.IntVar(&o.cluster.APIPort, "api-port", 0, "port of the API server on loopback; 0 keeps the last one, or takes a free one")
	f.BoolVar(&o.cluster.KeepPods, "keep-pods", false, "leave pod VMs running at the end, for the next vic up to adopt")
	f.BoolVar(&o.purge, "purge", false, "stop and remove everything of the directory, and do nothing else")
	f.BoolVar(&o.cluster.Simulator, "vsphere-simulator", false, "run pods on a simulated vCenter, whose VMs run on this host's QEMU (docs/vsphere.md)")
	o.settings.VCH()
	o.settings.Process()
	o.settings.Images()
	o.settings.Credentials()
	o.settings.Registries()
	o.settings.ImageLimits()
}

// complete sets what was not given, and refuses what is wrong before anything is touched.
func (o *options) complete() error {
	if port := o.cluster.APIPort; port < 0 || port > 65535 {
		return cli.Misused("--api-port: %d is not a port (0 to 65535)", port)
	}
	n := o.settings.Node
	o.cluster.AnyKubeletPort = n.VCH.Port == 0
	n.SetDefaults()
	err := n.Check()
	if err == nil {
		err = node.CheckFiles(n)
	}
	return o.settings.Name(err)
}

func (o *options) run(ctx context.Context, out io.Writer) error {
	p := printer{out: out, keepPods: o.cluster.KeepPods}
	o.cluster.Settings = o.settings.Node
	o.cluster.Events = standalone.Events{Ready: p.ready, Stopping: p.stopping, CuttingPower: p.cuttingPower}
	// Another signal ends the patience with pods.
	o.cluster.Patience = func(ctx context.Context) (context.Context, context.CancelFunc) {
		return signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	}
	return o.settings.Name(standalone.Run(ctx, o.cluster))
}

// printer says to people how far the cluster is.
type printer struct {
	out      io.Writer
	keepPods bool
}

// ready says what to type.
func (p printer) ready(s standalone.Summary) error {
	var note string
	if s.UserNetwork {
		note = "\n" + qemu.UserNetworkMeans
	}
	_, err := fmt.Fprintf(p.out, `node %s is Ready: %d CPUs, %.1f GiB; pods run on %s%s

  export KUBECONFIG=%s
  bin/kubectl apply -f examples/hello.yaml
  bin/kubectl get pods -o wide
  bin/kubectl exec -it hello -- sh

%s
`, s.NodeName, s.Capacity.CPUMilli/1000, float64(s.Capacity.MemoryBytes)/(1<<30), s.RunsOn, note, s.Kubeconfig, p.ending())
	return err
}

// ending says what the end does to pods.
func (p printer) ending() string {
	if p.keepPods {
		return "Ctrl-C stops the control plane and the node; pod VMs go on (--keep-pods)."
	}
	return "Ctrl-C ends the pods within their grace periods and stops everything."
}

func (p printer) stopping() {
	if p.keepPods {
		fmt.Fprintln(p.out, "stopping; pod VMs go on (--keep-pods)")
	} else {
		fmt.Fprintln(p.out, "stopping; pods end within their grace periods (Ctrl-C again cuts their power)")
	}
}

func (p printer) cuttingPower() { fmt.Fprintln(p.out, "cutting the power of the pods that run") }
