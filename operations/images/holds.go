package images

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/virtual-kubelet/vic/persona"
)

// holds are the images that pods have been given and that their VMs may not have yet. Without them the collector would
// take an image between the look and the use. It is safe for concurrent use.
type holds struct {
	mu   sync.Mutex // guards held, and keeps looks and removals apart
	held map[types.UID]map[string]struct{}
}

func newHolds() *holds {
	return &holds{held: map[types.UID]map[string]struct{}{}}
}

// take holds, for a pod, the image that look finds, until release. No removal goes between.
func (h *holds) take(uid types.UID, look func() (persona.Image, error)) (persona.Image, error) {
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

// release lets go of all that a pod was given; an unknown one is not an error.
func (h *holds) release(uid types.UID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.held, uid)
}

// unlessHeld calls remove unless a pod was given the image, and returns whether it did.
func (h *holds) unlessHeld(digest string, remove func() error) (bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, images := range h.held {
		if _, ok := images[digest]; ok {
			return false, nil
		}
	}
	return true, remove()
}

// digests are the images that some pod was given.
func (h *holds) digests() map[string]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := map[string]bool{}
	for _, images := range h.held {
		for digest := range images {
			all[digest] = true
		}
	}
	return all
}
