package nodecmd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/virtual-kubelet/vic/cmd/vic/internal/cli"
	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/wait"
	"github.com/virtual-kubelet/vic/node"
	"github.com/virtual-kubelet/vic/node/qemuvch"
	"github.com/virtual-kubelet/vic/node/vspherevch"
	"github.com/virtual-kubelet/vic/portlayer/vsphere"
)

// options are the flags of `vic node`.
type options struct {
	settings *cli.Settings
	file     string
}

// NewCommand returns `vic node`.
func NewCommand() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "node",
		Short: "Join a cluster as one node or several: this host's QEMU, or resource pools on vSphere",
		Long: `Joins a cluster as a node. Its pods are VMs on this host's QEMU or in a resource pool on vSphere. A list in the configuration,
or the cluster's VirtualContainerHosts, makes several nodes of one process (docs/node.md, docs/vsphere.md).

A flag wins over the environment, the environment over the file.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.complete(); err != nil {
				return err
			}
			return o.run(cmd.Context())
		},
	}
	o.add(cmd)
	return cmd
}

func (o *options) add(cmd *cobra.Command) {
	o.settings = cli.NewSettings(cmd.Flags(), config.DefaultNode())
	o.settings.Kubeconfig()
	cmd.Flags().StringVar(&o.file, "config", "", "`FILE` with the configuration: settings, VirtualContainerHosts, or both (docs/node.md)")
	o.settings.Dir()
	o.settings.Process()
	o.settings.Images()
	o.settings.Credentials()
	o.settings.Registries()
	o.settings.ImageLimits()
}

// complete reads the file, and refuses what is wrong before anything is touched.
func (o *options) complete() error {
	if o.file == "" {
		return cli.Misused("--config is needed (see docs/node.md)")
	}
	if err := o.settings.ReadFile(o.file); err != nil {
		return err
	}
	n := o.settings.Node
	n.SetDefaults()
	err := n.Check()
	if err == nil {
		err = node.CheckFiles(n)
	}
	if err != nil {
		return fmt.Errorf("--config %s: %w", o.file, o.settings.Name(err))
	}
	if n.Kubeconfig == "" && !inCluster() {
		return cli.Misused("--kubeconfig is needed, or kubeconfig in --config (see docs/node.md)")
	}
	return nil
}

// inCluster is true when this process runs in a pod that has a service account.
func inCluster() bool {
	_, err := rest.InClusterConfig()
	return err == nil
}

func (o *options) run(ctx context.Context) error {
	n := o.settings.Node
	api, err := clientcmd.BuildConfigFromFlags("", n.Kubeconfig)
	if err != nil {
		return fmt.Errorf("--kubeconfig %s: %w", n.Kubeconfig, err)
	}
	hypervisor := vspherevch.New() // knows which passwords were refused
	return o.settings.Name(patiently(ctx, func(ctx context.Context) error {
		return node.Serve(ctx, node.ServerConfig{
			Settings: n, Path: o.file, API: api,
			Hypervisors: node.Hypervisors{QEMU: qemuvch.New(n), VSphere: hypervisor}, Guests: hypervisor,
		})
	}))
}

// refusedAgain is how long a process waits that vSphere has refused. It asks again only with another password, or after minutes.
const refusedAgain = 10 * time.Second

// patiently serves again where vSphere has refused the password: a process that ended would be started again at once, know nothing
// of that, and lock the account.
func patiently(ctx context.Context, serve func(context.Context) error) error {
	for said := false; ; said = true {
		err := serve(ctx)
		if !errors.Is(err, vsphere.ErrLoginRefused) {
			return err
		}
		if !said {
			logging.From(ctx).ErrorContext(ctx, "node waits for another password", "err", err)
		}
		if wait.For(ctx, refusedAgain) != nil {
			return err
		}
	}
}
