package operations

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/operations/environment"
	"github.com/virtual-kubelet/vic/operations/events"
	"github.com/virtual-kubelet/vic/operations/images"
	"github.com/virtual-kubelet/vic/operations/plan"
	"github.com/virtual-kubelet/vic/operations/worker"
	"github.com/virtual-kubelet/vic/persona"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
)

// StarterHost is what PodStarter needs of the host, beside disks.
type StarterHost interface {
	Start(ctx context.Context, uid string) error
	Configure(ctx context.Context, uid string, pod wire.Pod) (wire.Ready, error)
	Run(ctx context.Context, uid string, c wire.Container) error
	PowerOff(ctx context.Context, uid string) error
}

// EnvSource resolves what a container's environment refers to.
type EnvSource interface {
	Env(ctx context.Context, pod *corev1.Pod, c *corev1.Container, in environment.Inputs) ([]string, error)
}

// ImageDisks gives the disks of images.
type ImageDisks interface {
	Source(img persona.Image) portlayer.DiskSource
}

// StarterConfig is what a PodStarter works with.
type StarterConfig struct {
	Host      StarterHost
	Disks     DiskHost
	Images    ImageDisks
	Env       EnvSource
	Admission MemoryReleaser
	Defaults  plan.Defaults
	// ClusterDNS is the cluster's name service, HostDNS the resolv.conf of the node.
	ClusterDNS plan.ClusterDNS
	HostDNS    func() wire.DNS
	// Node returns what environment and files may refer to.
	Node   func() NodeFacts
	Events record.EventRecorder
}

// PodStarter brings a pod from a VM that is off to containers that run, in steps that may each be repeated. It is safe
// for concurrent use.
type PodStarter struct{ cfg StarterConfig }

// NewPodStarter returns a PodStarter.
func NewPodStarter(cfg StarterConfig) *PodStarter { return &PodStarter{cfg: cfg} }

// PowerOn starts the VM, with the disks of the images that are here, and waits for its guest. A guest that did not answer
// in time is powered off again, so that the next try boots it anew; one that may have containers is left alone. When ctx
// is cancelled the VM stays as it is: the pod's deletion powers it off, and a new run of the program goes on with it.
func (s *PodStarter) PowerOn(ctx context.Context, vm podvm.VM, images []persona.Image) error {
	uid := vm.ID()
	if vm.State != portlayer.StateRunning {
		if err := attach(ctx, s.cfg.Disks, uid, s.sources(images)); err != nil {
			return err
		}
	}
	err := s.cfg.Host.Start(ctx, uid)
	if err == nil {
		s.cfg.Admission.Release(uid)
		return nil
	}
	mayRun := vm.State == portlayer.StateRunning && !vm.Booting
	if !mayRun && errors.Is(err, portlayer.ErrGuestUnreachable) {
		s.rollback(ctx, uid)
	}
	return err
}

// rollback outlives ctx, whose end may be what stopped the wait for the guest.
func (s *PodStarter) rollback(ctx context.Context, uid string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
	defer cancel()
	if err := s.cfg.Host.PowerOff(ctx, uid); err != nil {
		logging.From(ctx).WarnContext(ctx, "pod VM left running", "err", err)
	}
}

// Configure gives the guest what all containers share. A guest that has it is left alone.
func (s *PodStarter) Configure(ctx context.Context, pod *corev1.Pod, vm podvm.VM, boot worker.Boot) error {
	if vm.Current && vm.Guest.Phase != wire.PhaseWaiting {
		return nil
	}
	dns, warned := plan.DNS(pod, s.cfg.ClusterDNS, s.cfg.HostDNS())
	if warned.Reason != "" {
		events.To(s.cfg.Events).Pod(pod, events.Warning(warned.Reason, "%s", warned.Message))
	}
	shared, err := plan.Pod(pod, plan.PodInputs{
		DNS:           dns,
		PodIP:         podIP(&vm),
		ClusterDomain: s.cfg.ClusterDNS.Domain,
		ClusterHosts:  s.cfg.ClusterDNS.Hosts,
		ScratchDisk:   scratchSerial,
		StartTime:     boot.StartTime,
		Seeds:         boot.Seeds,
		Disks:         boot.Disks,
		Defaults:      s.cfg.Defaults,
	})
	if err != nil {
		return fmt.Errorf("plan pod: %w", err)
	}
	_, err = s.cfg.Host.Configure(ctx, vm.ID(), shared)
	return err
}

// Run runs one container, and attaches its image's disk first. One that the guest knows as it is now is left alone.
func (s *PodStarter) Run(ctx context.Context, pod *corev1.Pod, vm podvm.VM, run worker.ContainerRun) error {
	name := run.Name
	if c, ok := vm.Guest.Container(name); ok && run.Taken(c) {
		return nil
	}
	serial := images.DiskSerial(run.Image)
	if !hasDisk(&vm, serial) || !slices.Contains(podvm.Containers(vm.Spec), name) {
		if err := attach(ctx, s.cfg.Disks, vm.ID(), s.sources([]persona.Image{run.Image}), name); err != nil {
			return err
		}
	}
	node := s.cfg.Node()
	env, err := s.cfg.Env.Env(ctx, pod, run.Container, environment.Inputs{
		PodIP: addressOf(&vm), HostIP: node.HostIP, NodeAllocatable: node.Allocatable,
	})
	if err != nil {
		return fmt.Errorf("environment of container %s: %w", name, err)
	}
	c, err := plan.Container(pod, run.Member, plan.ContainerInputs{
		Image: plan.ImageConfig{
			Entrypoint: run.Image.Config.Entrypoint, Cmd: run.Image.Config.Cmd, Env: run.Image.Config.Env,
			User: run.Image.Config.User, WorkingDir: run.Image.Config.WorkingDir, StopSignal: run.Image.Config.StopSignal,
		},
		Env: env, Disks: []string{serial}, Defaults: s.cfg.Defaults, ClusterDomain: s.cfg.ClusterDNS.Domain,
	})
	if err != nil {
		return fmt.Errorf("plan container %s: %w", name, err)
	}
	return s.cfg.Host.Run(ctx, vm.ID(), c)
}

func (s *PodStarter) sources(all []persona.Image) map[string]portlayer.DiskSource {
	disks := make(map[string]portlayer.DiskSource, len(all))
	for _, img := range all {
		disks[images.DiskSerial(img)] = s.cfg.Images.Source(img)
	}
	return disks
}
