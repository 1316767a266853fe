package persona

import (
	"maps"
	"slices"

	"github.com/distribution/reference"
)

// Grant says who has shown that they may have an image of one repository.
type Grant struct {
	// Everyone is set once it came without credentials, with credentials of the whole machine, or by an import.
	Everyone bool `json:"everyone,omitempty"`
	// Holders are those of the credentials that brought it, in order (Credentials.Holder).
	Holders []string `json:"holders,omitempty"`
}

// MayUse reports whether holders of credentials may have the image under that name without asking the registry: one of them
// has brought it, or everyone may. An image of which nobody knows how it came is for everyone.
func (i Image) MayUse(name string, holders []string) bool {
	if len(i.Grants) == 0 {
		return true
	}
	allows := func(g Grant) bool {
		return g.Everyone || slices.ContainsFunc(holders, func(h string) bool { return slices.Contains(g.Holders, h) })
	}
	named, err := parseName(name)
	if err == nil && i.has(reference.FamiliarString(named)) {
		return allows(i.Grants[named.Name()])
	}
	// By its ID an image has no repository, so that any will do.
	for _, g := range i.Grants {
		if allows(g) {
			return true
		}
	}
	return false
}

// granted returns grants with one more holder for all repositories of names.
func granted(grants map[string]Grant, names naming) map[string]Grant {
	all := maps.Clone(grants)
	if all == nil {
		all = map[string]Grant{}
	}
	for _, name := range slices.Concat(names.tags, names.digests) {
		named, err := parseName(name)
		if err != nil {
			continue
		}
		g := all[named.Name()]
		if names.holder == "" {
			g.Everyone = true
		} else {
			g.Holders = sortedUnion(g.Holders, []string{names.holder})
		}
		all[named.Name()] = g
	}
	return all
}
