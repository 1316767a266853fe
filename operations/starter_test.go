package operations_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/guest/wire"
	operationsmocks "github.com/virtual-kubelet/vic/mocks/operations"
	"github.com/virtual-kubelet/vic/operations"
	"github.com/virtual-kubelet/vic/operations/environment"
	"github.com/virtual-kubelet/vic/operations/images/imagestest"
	"github.com/virtual-kubelet/vic/operations/plan"
	"github.com/virtual-kubelet/vic/operations/worker"
	"github.com/virtual-kubelet/vic/persona"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
)

// starter is a PodStarter over mocks.
type starter struct {
	*operations.PodStarter
	host      *operationsmocks.StarterHost
	disks     *operationsmocks.DiskHost
	images    *operationsmocks.ImageDisks
	env       *operationsmocks.EnvSource
	admission *operationsmocks.MemoryReleaser
}

func newStarter(t *testing.T) starter {
	t.Helper()
	s := starter{
		host:      operationsmocks.NewStarterHost(t),
		disks:     operationsmocks.NewDiskHost(t),
		images:    operationsmocks.NewImageDisks(t),
		env:       operationsmocks.NewEnvSource(t),
		admission: operationsmocks.NewMemoryReleaser(t),
	}
	s.PodStarter = operations.NewPodStarter(operations.StarterConfig{
		Host: s.host, Disks: s.disks, Images: s.images, Env: s.env, Admission: s.admission,
		Defaults: plan.StandardDefaults(),
		HostDNS:  func() wire.DNS { return wire.DNS{Nameservers: []string{"192.0.2.53"}} },
		Node:     func() operations.NodeFacts { return operations.NodeFacts{HostIP: "192.0.2.1"} },
	})
	return s
}

// vmIn is the pod's VM in that state, with a snapshot of its present boot where a phase is given.
func vmIn(state portlayer.State, phase wire.Phase) podvm.VM {
	vm := podvm.VM{VM: portlayer.VM{
		State: state, Spec: portlayer.Spec{ID: uid, Owner: portlayer.Owner{Kind: "Pod", UID: uid}},
	}}
	vm.Booting = state == portlayer.StateRunning && phase == ""
	if phase != "" {
		vm.Guest, vm.Current, vm.Greeted = &wire.Snapshot{BootID: "boot", Phase: phase}, true, true
	}
	return vm
}

func TestStarterPowersOnAfterItAttachedWhatIsHere(t *testing.T) {
	s := newStarter(t)
	img := imagestest.Image("example.com/app:1")
	h := &portlayer.Handle{}
	s.images.EXPECT().Source(img).Return(portlayer.DiskSource{Digest: img.DiskDigest})
	s.disks.EXPECT().Open(mock.Anything, uid).Return(h, nil).Once()
	commit := s.disks.EXPECT().Commit(mock.Anything, h).Return(podvm.VM{}, nil).Once()
	s.disks.EXPECT().Discard(h).Once()
	s.host.EXPECT().Start(mock.Anything, uid).Return(nil).Once().NotBefore(commit)
	s.admission.EXPECT().Release(uid).Once()
	require.NoError(t, s.PowerOn(t.Context(), vmIn(portlayer.StateCreated, ""), []persona.Image{img}))
}

func TestStarterPowerOnFailure(t *testing.T) {
	silent := vmIn(portlayer.StateRunning, wire.PhaseConfigured)
	silent.Current, silent.Greeted = false, false
	unknown := vmIn(portlayer.StateRunning, "")
	unknown.Booting = false
	tests := map[string]struct {
		vm       podvm.VM
		err      error
		powerOff bool
	}{
		"of a guest that never answered is undone": {vmIn(portlayer.StateCreated, ""), portlayer.ErrGuestUnreachable, true},
		"of a guest that may have containers is left alone": {
			silent, portlayer.ErrGuestUnreachable, false,
		},
		"of a guest that ran before us is left alone": {unknown, portlayer.ErrGuestUnreachable, false},
		"by cancellation is left to who cancelled":    {vmIn(portlayer.StateCreated, ""), context.Canceled, false},
		"of the hypervisor needs no undoing":          {vmIn(portlayer.StateCreated, ""), portlayer.ErrBusy, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newStarter(t)
			start := s.host.EXPECT().Start(mock.Anything, uid).Return(tt.err)
			if tt.powerOff {
				s.host.EXPECT().PowerOff(mock.Anything, uid).Return(nil).Once().NotBefore(start.Call)
			}
			require.ErrorIs(t, s.PowerOn(t.Context(), tt.vm, nil), tt.err)
		})
	}
}

func TestStarterConfiguresOnce(t *testing.T) {
	s := newStarter(t)
	seeds := []wire.Seed{{Name: "app", RestartCount: 2}}
	var got wire.Pod
	s.host.EXPECT().Configure(mock.Anything, uid, mock.Anything).RunAndReturn(
		func(_ context.Context, _ string, p wire.Pod) (wire.Ready, error) {
			got = p
			return wire.Ready{}, nil
		}).Once()
	p := pod(corev1.RestartPolicyAlways, "")
	require.NoError(t, s.Configure(t.Context(), p, vmIn(portlayer.StateRunning, wire.PhaseWaiting), worker.Boot{Seeds: seeds}))
	assert.Equal(t, seeds, got.Containers)
	assert.Equal(t, []string{"192.0.2.53"}, got.DNS.Nameservers)
	assert.Equal(t, "Always", got.RestartPolicy)
	require.NoError(t, s.Configure(t.Context(), p, vmIn(portlayer.StateRunning, wire.PhaseConfigured), worker.Boot{Seeds: seeds}))
}

func TestStarterRunsAContainerAfterItsDiskIsThere(t *testing.T) {
	s := newStarter(t)
	img := imagestest.Image("example.com/app:1")
	p := pod(corev1.RestartPolicyAlways, "sleep 1")
	s.images.EXPECT().Source(img).Return(portlayer.DiskSource{Digest: img.DiskDigest})
	s.disks.EXPECT().Open(mock.Anything, uid).RunAndReturn(func(context.Context, string) (*portlayer.Handle, error) {
		return &portlayer.Handle{}, nil
	}).Twice()
	s.disks.EXPECT().Commit(mock.Anything, mock.Anything).Return(podvm.VM{}, portlayer.ErrStaleHandle).Once()
	commit := s.disks.EXPECT().Commit(mock.Anything, mock.Anything).Return(podvm.VM{}, nil).Once()
	s.disks.EXPECT().Discard(mock.Anything).Twice()
	env := s.env.EXPECT().Env(mock.Anything, p, &p.Spec.Containers[0], environment.Inputs{HostIP: "192.0.2.1"}).
		Return([]string{"A=1"}, nil)
	var got wire.Container
	s.host.EXPECT().Run(mock.Anything, uid, mock.Anything).Run(func(_ context.Context, _ string, c wire.Container) {
		got = c
	}).Return(nil).Once().NotBefore(commit, env.Call)

	vm := vmIn(portlayer.StateRunning, wire.PhaseConfigured)
	require.NoError(t, s.Run(t.Context(), p, vm, worker.ContainerRun{Member: plan.Members(p)[0], Image: img}))
	assert.Equal(t, "app", got.Name)
	assert.Contains(t, got.Env, "A=1")
	assert.Contains(t, got.Env, "PATH=/bin")
	assert.Len(t, got.Disks, 1)
}

func TestStarterDoesNotRunAContainer(t *testing.T) {
	p := pod(corev1.RestartPolicyAlways, "sleep 1")
	run := worker.ContainerRun{Member: plan.Members(p)[0], Image: imagestest.Image("example.com/app:1")}
	known := func(c wire.ContainerStatus) podvm.VM {
		vm := vmIn(portlayer.StateRunning, wire.PhaseConfigured)
		c.Name = "app"
		vm.Guest.Containers = []wire.ContainerStatus{c}
		return vm
	}
	t.Run("that the guest knows", func(t *testing.T) {
		require.NoError(t, newStarter(t).Run(t.Context(), p, known(wire.ContainerStatus{Known: true, Revision: run.Revision()}), run))
	})
	t.Run("that ended for good", func(t *testing.T) {
		require.NoError(t, newStarter(t).Run(t.Context(), p, known(wire.ContainerStatus{Final: true}), run))
	})
	t.Run("whose environment is not there", func(t *testing.T) {
		s := newStarter(t)
		vm := known(wire.ContainerStatus{})
		vm.Spec.Disks = []portlayer.Disk{{Serial: "img-00000000000000000000000000000000"}}
		key, value := podvm.AnnotateContainers("app")
		vm.Spec.Annotations = map[string]string{key: value}
		missing := &environment.ConfigError{Reason: environment.ReasonCreateContainerConfigError, Message: "no secret"}
		s.env.EXPECT().Env(mock.Anything, mock.Anything, mock.Anything, mock.Anything).Return(nil, missing)
		require.ErrorIs(t, s.Run(t.Context(), p, vm, run), missing)
	})
}
