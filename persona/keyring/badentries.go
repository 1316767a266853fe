package keyring

import (
	"errors"
	"fmt"
)

// maxBadEntries is how many bad entries an error names, maxKeyShown how much of their keys.
const (
	maxBadEntries = 3
	maxKeyShown   = 100
)

// badEntries are those of a list that could not be added. A list may be long, and the error ends in an event.
type badEntries struct {
	count int
	named error
}

// note keeps what is wrong with the entry of key; nil is nothing.
func (b *badEntries) note(key string, err error) {
	if err == nil {
		return
	}
	if b.count++; b.count <= maxBadEntries {
		b.named = errors.Join(b.named, fmt.Errorf("entry %q: %w", key[:min(len(key), maxKeyShown)], err))
	}
}

func (b *badEntries) err() error {
	if b.count <= maxBadEntries {
		return b.named
	}
	return errors.Join(b.named, fmt.Errorf("and %d entries more", b.count-maxBadEntries))
}
