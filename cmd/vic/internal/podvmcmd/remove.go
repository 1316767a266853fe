package podvmcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/virtual-kubelet/vic/cmd/vic/internal/cli"
	"github.com/virtual-kubelet/vic/node/statedir"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm/rundir"
	"github.com/virtual-kubelet/vic/portlayer/qemu"
)

const (
	// askTimeout is how long the API server may take to say whether a pod is wanted.
	askTimeout = 10 * time.Second
	// removalPoll is how often it is looked whether the vic that runs has removed a VM.
	removalPoll = 250 * time.Millisecond
)

type removeOptions struct {
	dir        string
	kubeconfig string
	force      bool
	timeout    time.Duration
}

func newRemoveCommand() *cobra.Command {
	var o removeOptions
	cmd := &cobra.Command{
		Use:   "rm " + podVMArg,
		Short: "Remove a pod VM that is left over",
		Long: "Remove a pod VM with its disks and records. If a running vic has the VM and the API server still wants the pod, the command " +
			"refuses: use kubectl delete pod. With --force it ends the VM at once, as a crash does, and the pod's restart " +
			"policy applies.",
		Args: cobra.ExactArgs(1),
		PreRunE: func(*cobra.Command, []string) error {
			if o.timeout <= 0 {
				return cli.Misused("--timeout %s is not a time above zero", o.timeout)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd.Context(), cmd.OutOrStdout(), args[0])
		},
	}
	cli.AddDirFlag(cmd.Flags(), &o.dir)
	cmd.Flags().StringVar(&o.kubeconfig, "kubeconfig", "", "`FILE` for the cluster that knows whether the pod is wanted (default: the one in the state directory)")
	cmd.Flags().BoolVar(&o.force, "force", false, "end the VM of a pod that is still wanted")
	cmd.Flags().DurationVar(&o.timeout, "timeout", time.Minute, "how long the removal may take")
	return cmd
}

func (o removeOptions) run(ctx context.Context, w io.Writer, name string) error {
	state, vm, err := findPodVM(o.dir, name)
	if damaged, ok := errors.AsType[*qemu.DamagedError](err); ok {
		return removeDamaged(ctx, w, state, damaged.UID)
	}
	if err != nil {
		return err
	}
	d, err := qemu.Inspect(state.VCH(), vm.ID())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("it was not done within %s (--timeout)", o.timeout))
	defer cancel()
	if !d.Held {
		return removeUnheld(ctx, w, state, vm)
	}
	wanted, err := o.wanted(ctx, state, vm.Spec.Owner)
	switch {
	case err != nil && !o.force:
		return fmt.Errorf("a running vic has pod VM %s, and nobody knows whether its pod is still wanted (--force ends the VM all the same): %w", vm.ID(), err)
	case wanted && !o.force:
		id := vm.Spec.Owner
		return fmt.Errorf("pod %s/%s is still wanted, and a running vic has its VM: use `kubectl -n %s delete pod %s`, or --force to end the VM at once", id.Namespace, id.Name, id.Namespace, id.Name)
	}
	return endHeld(ctx, w, state, vm, wanted || err != nil)
}

// wanted asks the API server whether it has the pod and does not delete it.
func (o removeOptions) wanted(ctx context.Context, state *statedir.Dir, id portlayer.Owner) (bool, error) {
	path := o.kubeconfig
	if path == "" {
		path = state.Kubeconfig()
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return false, fmt.Errorf("read --kubeconfig %s: %w", path, err)
	}
	config.Timeout = askTimeout
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return false, fmt.Errorf("use --kubeconfig %s: %w", path, err)
	}
	pod, err := client.CoreV1().Pods(id.Namespace).Get(ctx, id.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("ask for pod %s/%s: %w", id.Namespace, id.Name, err)
	}
	return string(pod.UID) == id.UID && pod.DeletionTimestamp == nil, nil
}

// removeDamaged removes a VM whose record can't be read. What is remembered of its pod is the vic's that runs: for it the VM
// is gone already.
func removeDamaged(ctx context.Context, w io.Writer, state *statedir.Dir, uid string) error {
	if err := qemu.Remove(ctx, state.VCH(), uid); err != nil {
		return err
	}
	fmt.Fprintf(w, "removed pod VM %s, whose record could not be read, and its disks; if the API server still has the pod, vic makes it anew\n", uid)
	return nil
}

// removeUnheld removes a VM that no process has, and what is kept of it.
func removeUnheld(ctx context.Context, w io.Writer, state *statedir.Dir, vm portlayer.VM) error {
	if err := qemu.Remove(ctx, state.VCH(), vm.ID()); err != nil {
		return err
	}
	store, err := rundir.Open(rundir.Config{Root: state.Runs()})
	if err == nil {
		err = store.Remove(vm.ID())
	}
	if err != nil {
		return fmt.Errorf("the VM is removed, its records are not: %w", err)
	}
	if vm.PID != 0 {
		fmt.Fprintf(w, "ended QEMU, process %d\n", vm.PID)
	}
	id := vm.Spec.Owner
	fmt.Fprintf(w, "removed pod VM %s of pod %s/%s, its disks and its records; if the API server still has the pod, the next vic makes it anew\n",
		vm.ID(), id.Namespace, id.Name)
	return nil
}

// endHeld ends a VM that a vic has, which then does what is due: it starts the pod again where it is wanted, and removes
// the VM otherwise.
func endHeld(ctx context.Context, w io.Writer, state *statedir.Dir, vm portlayer.VM, wanted bool) error {
	pid, err := qemu.End(ctx, state.VCH(), vm.ID())
	if err != nil && !errors.Is(err, portlayer.ErrNotFound) {
		return err
	}
	if pid != 0 {
		fmt.Fprintf(w, "ended QEMU, process %d\n", pid)
	}
	id := vm.Spec.Owner
	if wanted {
		fmt.Fprintf(w, "the vic that runs goes on with pod %s/%s as its restart policy says\n", id.Namespace, id.Name)
		return nil
	}
	tick := time.NewTicker(removalPoll)
	defer tick.Stop()
	for {
		_, err := qemu.Inspect(state.VCH(), vm.ID())
		if errors.Is(err, portlayer.ErrNotFound) {
			fmt.Fprintf(w, "pod VM %s of pod %s/%s was removed by the vic that runs\n", vm.ID(), id.Namespace, id.Name)
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait until the vic that runs removes pod VM %s: %w", vm.ID(), context.Cause(ctx))
		}
	}
}
