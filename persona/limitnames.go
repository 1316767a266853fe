package persona

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/virtual-kubelet/vic/persona/flatten"
)

// namedLimit is one bound of Limits, by the name that users know it by.
type namedLimit struct {
	initial, most int64
	set           func(l *Limits, n int64)
}

// namedLimits are all of them; docs/images.md says what each is for.
var namedLimits = map[string]namedLimit{
	"bytes":      {flatten.DefaultMaxBytes, 8 << 40, func(l *Limits, n int64) { l.Files.Bytes = n }},
	"entries":    {flatten.DefaultMaxEntries, flatten.MostEntries, func(l *Limits, n int64) { l.Files.Entries = int(n) }},
	"depth":      {flatten.DefaultMaxDepth, flatten.MostDepth, func(l *Limits, n int64) { l.Files.Depth = int(n) }},
	"metadata":   {flatten.DefaultMaxMetadataBytes, 16 << 30, func(l *Limits, n int64) { l.Files.MetadataBytes = n }},
	"attributes": {flatten.DefaultMaxXattrBytes, 64 << 10, func(l *Limits, n int64) { l.Files.XattrBytes = int(n) }},
	"layers":     {DefaultMaxLayers, 10_000, func(l *Limits, n int64) { l.Layers = int(n) }},
	"document":   {DefaultMaxDocumentBytes, MostDocumentBytes, func(l *Limits, n int64) { l.DocumentBytes = n }},
}

// LimitNames are the names that Set knows, sorted.
func LimitNames() []string { return slices.Sorted(maps.Keys(namedLimits)) }

// Set sets the limit of that name.
func (l *Limits) Set(name string, n int64) error {
	limit, ok := namedLimits[name]
	if !ok {
		return errors.New("no such limit: there are " + strings.Join(LimitNames(), ", "))
	}
	if n < 1 || n > limit.most {
		return fmt.Errorf("%d is not within 1 and %d", n, limit.most)
	}
	limit.set(l, n)
	return nil
}
