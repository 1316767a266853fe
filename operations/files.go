package operations

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/operations/plan"
	"github.com/virtual-kubelet/vic/operations/volumes"
	"github.com/virtual-kubelet/vic/operations/worker"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
	"github.com/virtual-kubelet/vic/steps"
)

// FilesHost puts files into a guest.
type FilesHost interface {
	PutFiles(ctx context.Context, uid string, files wire.Files) error
}

// FileSource fills volumes.
type FileSource interface {
	Files(ctx context.Context, pod *corev1.Pod, v *corev1.Volume, in volumes.Inputs) (wire.Files, time.Time, error)
}

// PodFiles keeps the config maps, secrets, tokens and downward API files of pods as they are in the cluster. It is safe
// for concurrent use.
type PodFiles struct {
	host   FilesHost
	source FileSource
	node   func() NodeFacts
}

// NewPodFiles returns a PodFiles. Node says what files may refer to.
func NewPodFiles(host FilesHost, source FileSource, node func() NodeFacts) *PodFiles {
	return &PodFiles{host: host, source: source, node: node}
}

// Deliver puts each volume whose content is not what the guest has. One that fails holds up no other; what was achieved
// is in the Delivery that it returns, also beside an error.
func (f *PodFiles) Deliver(ctx context.Context, pod *corev1.Pod, vm podvm.VM, now worker.Delivery) (worker.Delivery, error) {
	next := worker.Delivery{
		BootID: vm.Guest.BootID,
		Sums:   map[string][sha256.Size]byte{},
		Due:    time.Now().Add(wait.Jitter(volumeRefresh, steps.Jitter)),
	}
	if now.BootID != next.BootID {
		now.Sums = nil
	}
	node := f.node()
	in := volumes.Inputs{PodIP: addressOf(&vm), HostIP: node.HostIP, NodeAllocatable: node.Allocatable}
	var failed error
	files := plan.FileVolumes(pod)
	for i := range files {
		v := &files[i]
		if sum, ok := now.Sums[v.Name]; ok {
			next.Sums[v.Name] = sum
		}
		refresh, err := f.deliver(ctx, pod, v, fileTarget{vm.ID(), next.Sums, in})
		failed = errors.Join(failed, err)
		if !refresh.IsZero() && refresh.Before(next.Due) {
			next.Due = refresh
		}
	}
	return next, failed
}

type fileTarget struct {
	uid  string
	sums map[string][sha256.Size]byte
	in   volumes.Inputs
}

func (f *PodFiles) deliver(ctx context.Context, pod *corev1.Pod, v *corev1.Volume, to fileTarget) (time.Time, error) {
	content, refresh, err := f.source.Files(ctx, pod, v, to.in)
	if err != nil {
		return time.Time{}, err
	}
	encoded, err := json.Marshal(content)
	if err != nil {
		return time.Time{}, fmt.Errorf("encode files of volume %q: %w", v.Name, err)
	}
	sum := sha256.Sum256(encoded)
	if had, ok := to.sums[v.Name]; ok && had == sum {
		return refresh, nil
	}
	if err := f.host.PutFiles(ctx, to.uid, content); err != nil {
		return time.Time{}, err
	}
	to.sums[v.Name] = sum
	return refresh, nil
}
