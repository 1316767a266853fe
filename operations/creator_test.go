package operations_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	operationsmocks "github.com/virtual-kubelet/vic/mocks/operations"
	"github.com/virtual-kubelet/vic/operations"
	"github.com/virtual-kubelet/vic/operations/fields"
	"github.com/virtual-kubelet/vic/operations/images/imagestest"
	"github.com/virtual-kubelet/vic/operations/plan"
	"github.com/virtual-kubelet/vic/persona"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
)

var errBroken = errors.New("broken")

// creator is a PodCreator over mocks.
type creator struct {
	*operations.PodCreator
	host      *operationsmocks.CreatorHost
	admission *operationsmocks.Admitter
	disks     *operationsmocks.DiskSources
}

func newCreator(t *testing.T, scope string) creator {
	t.Helper()
	c := creator{
		host:      operationsmocks.NewCreatorHost(t),
		admission: operationsmocks.NewAdmitter(t),
		disks:     operationsmocks.NewDiskSources(t),
	}
	c.PodCreator = operations.NewPodCreator(operations.CreatorConfig{
		Host: c.host, Admission: c.admission, Disks: c.disks, NodeName: nodeName, Scope: scope,
		Capabilities: podvm.Capabilities{PodNetwork: true, HotAddDisk: true}, Defaults: plan.StandardDefaults(),
	})
	return c
}

// admits expects the pod to be admitted.
func (c creator) admits() {
	c.admission.EXPECT().Admit(mock.Anything, mock.Anything, int64(640<<20)).Return(nil)
}

func TestCreatorDraftsWhatThePodNeedsAndCommits(t *testing.T) {
	c := newCreator(t, "")
	c.admits()
	img := imagestest.Image("example.com/app:1")
	c.disks.EXPECT().Local(mock.Anything, mock.Anything).Return(img, true)
	c.disks.EXPECT().Source(img).Return(portlayer.DiskSource{Digest: img.DiskDigest})
	h := &portlayer.Handle{}
	c.host.EXPECT().New(mock.Anything, portlayer.Owner{
		UID: uid, Namespace: "default", Name: "web", Node: nodeName, Generation: 1,
	}).Return(h, nil).Once()
	c.host.EXPECT().Commit(mock.Anything, h).Return(podvm.VM{}, nil).Once()
	c.host.EXPECT().Discard(h).Once()

	p := pod(corev1.RestartPolicyAlways, "")
	p.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{TopologyKey: corev1.LabelHostname}}
	require.NoError(t, c.Create(t.Context(), p))
	spec := h.Spec()
	assert.Equal(t, plan.SpreadGroup(p), spec.SpreadGroup)
	assert.NotEmpty(t, spec.SpreadGroup)
	assert.Equal(t, []string{"app"}, podvm.Containers(spec))
	assert.Equal(t, portlayer.Size{VCPUs: 1, CPUMilli: 1000, MemoryBytes: 640 << 20}, spec.Size)
	require.Len(t, spec.Disks, 2)
	assert.Equal(t, portlayer.Disk{Kind: portlayer.DiskScratch, Serial: "scratch", SizeBytes: 10 << 30}, spec.Disks[0])
	assert.Equal(t, portlayer.DiskImage, spec.Disks[1].Kind)
	assert.Len(t, spec.Disks[1].Serial, 36)
}

func TestCreatorLeavesAVMThatIsThere(t *testing.T) {
	tests := map[string]func(c creator){
		"when the draft finds it": func(c creator) {
			c.host.EXPECT().New(mock.Anything, mock.Anything).Return(nil, portlayer.ErrExists)
		},
		"when the commit finds it": func(c creator) {
			c.disks.EXPECT().Local(mock.Anything, mock.Anything).Return(persona.Image{}, false)
			c.host.EXPECT().New(mock.Anything, mock.Anything).Return(&portlayer.Handle{}, nil)
			c.host.EXPECT().Commit(mock.Anything, mock.Anything).Return(podvm.VM{}, portlayer.ErrExists)
			c.host.EXPECT().Discard(mock.Anything)
		},
	}
	for name, expect := range tests {
		t.Run(name, func(t *testing.T) {
			c := newCreator(t, "")
			c.admits()
			c.host.EXPECT().Get(mock.Anything, uid).Return(podvm.VM{VM: portlayer.VM{State: portlayer.StateCreated}}, nil)
			expect(c)
			require.NoError(t, c.Create(t.Context(), pod(corev1.RestartPolicyAlways, "")))
		})
		t.Run(name+" and nobody sees it", func(t *testing.T) {
			c := newCreator(t, "")
			c.admits()
			c.host.EXPECT().Get(mock.Anything, uid).Return(podvm.VM{VM: portlayer.VM{State: portlayer.StateRemoved}}, nil)
			expect(c)
			err := c.Create(t.Context(), pod(corev1.RestartPolicyAlways, ""))
			require.ErrorIs(t, err, portlayer.ErrExists)
			require.ErrorContains(t, err, "a VM of that name is there")
		})
	}
}

func TestCreatorUndoes(t *testing.T) {
	tests := map[string]struct {
		scope  string
		expect func(c creator)
		want   error
	}{
		"nothing when the pod is not admitted": {"", func(c creator) {
			c.admission.EXPECT().Admit(mock.Anything, mock.Anything, mock.Anything).Return(portlayer.ErrOutOfMemory)
		}, portlayer.ErrOutOfMemory},
		"nothing when there is no draft": {"", func(c creator) {
			c.admits()
			c.host.EXPECT().New(mock.Anything, mock.Anything).Return(nil, errBroken)
		}, errBroken},
		"the draft when there is no address": {"pods", func(c creator) {
			c.admits()
			c.host.EXPECT().New(mock.Anything, mock.Anything).Return(&portlayer.Handle{}, nil)
			c.host.EXPECT().Discard(mock.Anything).Once()
		}, portlayer.ErrUnsupported},
		"only the draft when there may be a VM that can't be read": {"", func(c creator) {
			c.admits()
			c.disks.EXPECT().Local(mock.Anything, mock.Anything).Return(persona.Image{}, false)
			c.host.EXPECT().New(mock.Anything, mock.Anything).Return(&portlayer.Handle{}, nil)
			c.host.EXPECT().Commit(mock.Anything, mock.Anything).Return(podvm.VM{}, portlayer.ErrBusy)
			c.host.EXPECT().Discard(mock.Anything).Once()
		}, portlayer.ErrBusy},
		"draft and VM when the commit fails": {"", func(c creator) {
			c.admits()
			c.disks.EXPECT().Local(mock.Anything, mock.Anything).Return(persona.Image{}, false)
			c.host.EXPECT().New(mock.Anything, mock.Anything).Return(&portlayer.Handle{}, nil)
			commit := c.host.EXPECT().Commit(mock.Anything, mock.Anything).Return(podvm.VM{}, errBroken).Call
			remove := c.host.EXPECT().Remove(mock.Anything, uid).Return(nil).NotBefore(commit)
			c.host.EXPECT().Discard(mock.Anything).NotBefore(remove)
		}, errBroken},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := newCreator(t, tt.scope)
			tt.expect(c)
			require.ErrorIs(t, c.Create(t.Context(), pod(corev1.RestartPolicyAlways, "")), tt.want)
		})
	}
}

func TestCreatorUndoesAlsoWhenItIsCancelled(t *testing.T) {
	c := newCreator(t, "")
	c.admits()
	ctx, cancel := context.WithCancel(t.Context())
	c.disks.EXPECT().Local(mock.Anything, mock.Anything).Return(persona.Image{}, false)
	c.host.EXPECT().New(mock.Anything, mock.Anything).Return(&portlayer.Handle{}, nil)
	c.host.EXPECT().Commit(mock.Anything, mock.Anything).RunAndReturn(
		func(ctx context.Context, _ *portlayer.Handle) (podvm.VM, error) {
			cancel()
			return podvm.VM{}, ctx.Err()
		})
	c.host.EXPECT().Remove(mock.Anything, uid).RunAndReturn(func(ctx context.Context, _ string) error {
		require.NoError(t, ctx.Err(), "the undoing is not cancelled")
		return nil
	}).Once()
	c.host.EXPECT().Discard(mock.Anything).Once()
	require.ErrorIs(t, c.Create(ctx, pod(corev1.RestartPolicyAlways, "")), context.Canceled)
}

func TestCreatorReplaysAStaleHandle(t *testing.T) {
	c := newCreator(t, "")
	c.admits()
	c.disks.EXPECT().Local(mock.Anything, mock.Anything).Return(persona.Image{}, false)
	c.host.EXPECT().New(mock.Anything, mock.Anything).Return(&portlayer.Handle{}, nil).Twice()
	c.host.EXPECT().Commit(mock.Anything, mock.Anything).Return(podvm.VM{}, portlayer.ErrStaleHandle).Once()
	c.host.EXPECT().Commit(mock.Anything, mock.Anything).Return(podvm.VM{}, nil).Once()
	c.host.EXPECT().Discard(mock.Anything).Twice()
	require.NoError(t, c.Create(t.Context(), pod(corev1.RestartPolicyAlways, "")))
}

func TestCreatorRefusesByName(t *testing.T) {
	c := newCreator(t, "")
	p := pod(corev1.RestartPolicyAlways, "")
	p.Spec.HostNetwork, p.Spec.HostPID = true, true
	err := c.Create(t.Context(), p)
	refused, ok := errors.AsType[*fields.UnsupportedError](err)
	require.True(t, ok)
	require.Len(t, refused.Refusals, 2)
	assert.Contains(t, err.Error(), "spec.hostNetwork: ")
	assert.Contains(t, err.Error(), "spec.hostPID: ")
}
