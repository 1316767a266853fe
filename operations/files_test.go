package operations_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/guest/wire"
	operationsmocks "github.com/virtual-kubelet/vic/mocks/operations"
	"github.com/virtual-kubelet/vic/operations"
	"github.com/virtual-kubelet/vic/operations/volumes"
	"github.com/virtual-kubelet/vic/operations/worker"
	"github.com/virtual-kubelet/vic/portlayer"
)

// withSecret gives the pod a second volume that the host fills.
func withSecret(p *corev1.Pod) *corev1.Pod {
	p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "secret", VolumeSource: corev1.VolumeSource{
		Secret: &corev1.SecretVolumeSource{SecretName: "s"},
	}})
	c := &p.Spec.Containers[0]
	c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "secret", MountPath: "/secret"})
	return p
}

func named(volume string) any {
	return mock.MatchedBy(func(v *corev1.Volume) bool { return v.Name == volume })
}

func TestVolumeThatFailsHoldsUpNoOther(t *testing.T) {
	host, source := operationsmocks.NewFilesHost(t), operationsmocks.NewFileSource(t)
	f := operations.NewPodFiles(host, source, noFacts)
	p, vm := withSecret(withConfigMap(pod(corev1.RestartPolicyAlways, ""))), vmIn(portlayer.StateRunning, wire.PhaseConfigured)
	missing := &volumes.MountError{Reason: volumes.ReasonFailedMount, Message: "no config map"}
	source.EXPECT().Files(mock.Anything, p, named("config"), mock.Anything).Return(wire.Files{}, time.Time{}, missing).Once()
	source.EXPECT().Files(mock.Anything, p, named("secret"), mock.Anything).Return(wire.Files{Volume: "secret"}, time.Time{}, nil)
	host.EXPECT().PutFiles(mock.Anything, uid, wire.Files{Volume: "secret"}).Return(nil).Once()

	d, err := f.Deliver(t.Context(), p, vm, worker.Delivery{})
	require.ErrorIs(t, err, missing)
	assert.False(t, d.Complete(p, "boot"))

	source.EXPECT().Files(mock.Anything, p, named("config"), mock.Anything).Return(wire.Files{Volume: "config"}, time.Time{}, nil).Once()
	host.EXPECT().PutFiles(mock.Anything, uid, wire.Files{Volume: "config"}).Return(nil).Once()
	d, err = f.Deliver(t.Context(), p, vm, d)
	require.NoError(t, err)
	assert.True(t, d.Complete(p, "boot"))
	assert.False(t, d.Complete(p, "another boot"))
}

func TestVolumeIsLookedAtAgain(t *testing.T) {
	tests := map[string]struct {
		refresh, least, most time.Duration // after now; no refresh is 0
	}{
		"after about a minute":            {0, time.Minute, 72 * time.Second},
		"earlier when a token wants it":   {10 * time.Second, 10 * time.Second, 10 * time.Second},
		"not later when a token may wait": {time.Hour, time.Minute, 72 * time.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host, source := operationsmocks.NewFilesHost(t), operationsmocks.NewFileSource(t)
				var refresh time.Time
				if tt.refresh > 0 {
					refresh = time.Now().Add(tt.refresh)
				}
				source.EXPECT().Files(mock.Anything, mock.Anything, mock.Anything, mock.Anything).Return(wire.Files{Volume: "config"}, refresh, nil)
				host.EXPECT().PutFiles(mock.Anything, uid, mock.Anything).Return(nil)
				d, err := operations.NewPodFiles(host, source, noFacts).Deliver(t.Context(), withConfigMap(pod("", "")),
					vmIn(portlayer.StateRunning, wire.PhaseConfigured), worker.Delivery{})
				require.NoError(t, err)
				due := time.Until(d.DueIn("boot"))
				assert.True(t, tt.least <= due && due <= tt.most, due)
				assert.True(t, d.DueIn("another boot").IsZero())
			})
		})
	}
}

// noFacts are those of a node that files do not refer to.
func noFacts() operations.NodeFacts { return operations.NodeFacts{} }
