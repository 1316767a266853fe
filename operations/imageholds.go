package operations

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/virtual-kubelet/vic/persona"
)

// imageHolds are the images that pods have been given and that their VMs may not have yet. Without them the collector would
// take an image between the look and the use. It is safe for concurrent use.
type imageHolds struct {
	mu   sync.Mutex // guards held, and keeps looks and removals apart
	held map[types.UID]map[string]struct{}
}

func newImageHolds() *imageHolds {
	return &imageHolds{held: map[types.UID]map[string]struct{}{}}
}

// take holds, for a pod, the image that look finds, until release. No removal goes between.
func (h *imageHolds) take(uid types.UID, look func() (persona.Image, error)) (persona.Image, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	img, err := look()
	if err != nil {
		return persona.Image{}, err
	}
	if h.held[uid] == nil {
		h.held[uid] = map[string]struct{}{}
	}
	h.held[uid][img.Digest] = struct{}{}
	return img, nil
}

// release lets go of all that a pod was given; an unknown one is no error.
func (h *imageHolds) release(uid types.UID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.held, uid)
}
