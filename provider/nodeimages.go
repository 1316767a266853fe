package provider

import (
	"cmp"
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/persona"
)

// How much a Node object shows of images, as a kubelet's does (KubeletConfiguration, nodeStatusMaxImages; kubelet/nodestatus).
const (
	maxImages     = 50
	maxImageNames = 5
)

// Images lists the images that the node has. *persona.Store is one.
type Images interface {
	List() ([]persona.Image, error)
}

// imagesOf are the largest images, for the scheduler, which likes nodes that have a pod's images. Those that can't be
// listed are left out.
func imagesOf(ctx context.Context, images Images) []corev1.ContainerImage {
	if images == nil {
		return nil
	}
	list, err := images.List()
	if err != nil {
		logging.From(ctx).WarnContext(ctx, "images of the node not listed", "err", err)
		return nil
	}
	var all []corev1.ContainerImage
	for i := range list {
		names := slices.Concat(list[i].RepoDigests, list[i].Names)
		if len(names) > 0 {
			all = append(all, corev1.ContainerImage{Names: names[:min(len(names), maxImageNames)], SizeBytes: list[i].SizeBytes})
		}
	}
	slices.SortStableFunc(all, func(a, b corev1.ContainerImage) int { return -cmp.Compare(a.SizeBytes, b.SizeBytes) })
	return all[:min(len(all), maxImages)]
}
