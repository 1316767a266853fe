package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/virtual-kubelet/vic/persona"
	"github.com/virtual-kubelet/vic/persona/flatten"
)

// imageLimit is one bound of persona.Limits, by the name that users know it by.
type imageLimit struct {
	initial, most int64
	set           func(l *persona.Limits, n int64)
}

// imageLimits are all of them; docs/images.md says what each is for.
var imageLimits = map[string]imageLimit{
	"bytes":      {flatten.DefaultMaxBytes, 8 << 40, func(l *persona.Limits, n int64) { l.Files.Bytes = n }},
	"entries":    {flatten.DefaultMaxEntries, flatten.MostEntries, func(l *persona.Limits, n int64) { l.Files.Entries = int(n) }},
	"depth":      {flatten.DefaultMaxDepth, flatten.MostDepth, func(l *persona.Limits, n int64) { l.Files.Depth = int(n) }},
	"metadata":   {flatten.DefaultMaxMetadataBytes, 16 << 30, func(l *persona.Limits, n int64) { l.Files.MetadataBytes = n }},
	"attributes": {flatten.DefaultMaxXattrBytes, 64 << 10, func(l *persona.Limits, n int64) { l.Files.XattrBytes = int(n) }},
	"layers":     {persona.DefaultMaxLayers, 10_000, func(l *persona.Limits, n int64) { l.Layers = int(n) }},
	"document":   {persona.DefaultMaxDocumentBytes, persona.MostDocumentBytes, func(l *persona.Limits, n int64) { l.DocumentBytes = n }},
}

// imageLimitFlags is --image-limit, as often as it is given.
type imageLimitFlags []string

func (f *imageLimitFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar((*[]string)(f), "image-limit", nil,
		"`NAME=QUANTITY` that no image may exceed, such as bytes=16Gi; repeatable. Names: "+
			strings.Join(slices.Sorted(maps.Keys(imageLimits)), ", ")+" (docs/images.md has their defaults)")
}

func (f *imageLimitFlags) limits() (persona.Limits, error) {
	var limits persona.Limits
	for _, given := range *f {
		name, value, ok := strings.Cut(given, "=")
		if !ok {
			return persona.Limits{}, misused("--image-limit %q is not of the form NAME=QUANTITY", given)
		}
		q, err := resource.ParseQuantity(value)
		if err == nil {
			err = setImageLimit(&limits, name, q)
		}
		if err != nil {
			return persona.Limits{}, misused("--image-limit %q: %w", given, err)
		}
	}
	return limits, nil
}

// setImageLimit sets the limit called name.
func setImageLimit(limits *persona.Limits, name string, q resource.Quantity) error {
	limit, ok := imageLimits[name]
	if !ok {
		return fmt.Errorf("no such limit: there are %s", strings.Join(slices.Sorted(maps.Keys(imageLimits)), ", "))
	}
	n, whole := q.AsInt64()
	if !whole {
		return errors.New("not a whole number")
	}
	if n < 1 || n > limit.most {
		return fmt.Errorf("not within 1 and %d", limit.most)
	}
	limit.set(limits, n)
	return nil
}
