package persona

import (
	"context"

	"github.com/virtual-kubelet/vic/persona/flatten"
)

const (
	// flatteningPlaces is how many images a process unpacks and flattens at one time.
	flatteningPlaces = 2
	// placeEntries and placeMetadataBytes are what an image in a place may hold in memory. Most images are smaller; one that is
	// larger has to be the only one.
	placeEntries       = 64 << 10
	placeMetadataBytes = 16 << 20
)

// flattening is the memory of this process for images, whatever stores it has open.
var flattening = newMemory(flatteningPlaces, flatten.Reserve{Entries: placeEntries, MetadataBytes: placeMetadataBytes})

// memory bounds what the flattening of images holds at one time. Nobody who has a part of it waits for anything but the disk
// and the processor, and who has the large part waits for no other: so everybody's turn comes.
type memory struct {
	places chan struct{}
	// place is what an image may hold in each of them.
	place flatten.Reserve
	// large is for the one image that is larger than its place.
	large chan struct{}
}

func newMemory(places int, place flatten.Reserve) *memory {
	return &memory{places: make(chan struct{}, places), place: place, large: make(chan struct{}, 1)}
}

// enter waits for a place. The caller calls leave.
func (m *memory) enter(ctx context.Context) (*share, error) {
	if err := take(ctx, m.places); err != nil {
		return nil, err
	}
	return &share{memory: m}, nil
}

// share is what one image has of the memory.
type share struct {
	memory *memory
	large  bool
}

// grow waits until the image may be as large as its limits allow.
func (s *share) grow(ctx context.Context) error {
	err := take(ctx, s.memory.large)
	s.large = err == nil
	return err
}

func (s *share) leave() {
	if s.large {
		<-s.memory.large
	}
	<-s.memory.places
}

func take(ctx context.Context, from chan struct{}) error {
	select {
	case from <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// FlatteningBytes is about the most memory that a process takes for the images that it unpacks and flattens, however many it
// pulls, where no image may exceed limits.
func FlatteningBytes(limits Limits) int64 {
	place := flatten.Limits{Entries: placeEntries, MetadataBytes: placeMetadataBytes}.MemoryBytes() + maxZstdWindow
	return flatteningPlaces*place + limits.withDefaults().Files.MemoryBytes()
}
