package persona

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/virtual-kubelet/vic/persona/flatten"
)

const (
	// DefaultMaxLayers is twice what any tool makes.
	DefaultMaxLayers = 256
	// DefaultMaxDocumentBytes is 4 MiB, which is what registries accept (OCI distribution specification, "Pushing manifests").
	DefaultMaxDocumentBytes = 4 << 20

	// MostDocumentBytes is the most that Limits.DocumentBytes can allow: documents are held in memory.
	MostDocumentBytes = 16 << 20

	// maxDescriptors bounds the entries of an index, and the images of an archive of docker save.
	maxDescriptors = 10_000

	// maxValues bounds the values in one document, by its commas: one that takes two bytes in JSON takes thirty in memory.
	maxValues = 256 << 10

	// maxRunBytes bounds what a configuration says of how to run the image, and maxLabelBytes its labels: both are kept in memory
	// for as long as the image is here.
	maxRunBytes   = 64 << 10
	maxLabelBytes = 16 << 10
)

// Limits bounds what an image may cost. A zero field means its default. What exceeds one is refused with ErrTooLarge, and
// leaves nothing behind.
type Limits struct {
	// Files bounds what all layers hold. Its Bytes bounds the layers as they come, too.
	Files flatten.Limits
	// Layers bounds the number of layers.
	Layers int
	// DocumentBytes bounds a manifest, an index or a configuration; at most MostDocumentBytes.
	DocumentBytes int64
}

func (l Limits) withDefaults() Limits {
	l.Files = l.Files.WithDefaults()
	if l.Layers <= 0 {
		l.Layers = DefaultMaxLayers
	}
	if l.DocumentBytes <= 0 {
		l.DocumentBytes = DefaultMaxDocumentBytes
	}
	l.DocumentBytes = min(l.DocumentBytes, MostDocumentBytes)
	return l
}

func (l Limits) checkDocument(what string, sizeBytes int64) error {
	if sizeBytes > l.DocumentBytes {
		return fmt.Errorf("%w: %s of %d bytes, the most is %d", ErrTooLarge, what, sizeBytes, l.DocumentBytes)
	}
	return nil
}

// checkLayers refuses sizes that lie before they add up to anything.
func (l Limits) checkLayers(layers []layer) error {
	left := l.Files.Bytes
	for _, layer := range layers {
		if layer.size < 0 {
			return fmt.Errorf("%w: layer %s of %d bytes", ErrInvalidImage, layer.name(), layer.size)
		}
		if left -= layer.size; left < 0 {
			return fmt.Errorf("%w: its layers, as they come, take more than %d bytes", ErrTooLarge, l.Files.Bytes)
		}
	}
	return nil
}

// decode decodes a document of strangers.
func decode(what string, raw []byte, into any) error {
	if bytes.Count(raw, []byte{','}) > maxValues {
		return fmt.Errorf("%w: %s of more than %d values", ErrTooLarge, what, maxValues)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrInvalidImage, what, err)
	}
	return nil
}

// decodeEach decodes the items of a list, of which there may be most. They are counted while they are small: what takes three
// bytes in JSON takes a hundred in memory.
func decodeEach[T any](what string, items []json.RawMessage, most int) ([]T, error) {
	if len(items) > most {
		return nil, fmt.Errorf("%w: %d %s, the most is %d", ErrTooLarge, len(items), what, most)
	}
	all := make([]T, len(items))
	for i, item := range items {
		if err := json.Unmarshal(item, &all[i]); err != nil {
			return nil, fmt.Errorf("%w: %s, number %d: %w", ErrInvalidImage, what, i+1, err)
		}
	}
	return all, nil
}
