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
	// Delivered is set once the repository has delivered all layers of the image. One that knew no more than manifest and
	// configuration vouches for nobody but under its own name.
	Delivered bool `json:"delivered,omitempty"`
}

// allows reports whether one of holders may have what g is for.
func (g Grant) allows(holders ...string) bool {
	return g.Everyone || slices.ContainsFunc(holders, func(h string) bool { return slices.Contains(g.Holders, h) })
}

// MayUse reports whether holders of credentials may have the image under that name without asking the registry: one of them
// has brought it, or everyone may. An image of which nobody knows how it came is for everyone.
func (i Image) MayUse(name string, holders []string) bool {
	if len(i.Grants) == 0 {
		return true
	}
	named, err := parseName(name)
	if err == nil && i.has(reference.FamiliarString(named)) {
		return i.Grants[named.Name()].allows(holders...)
	}
	// By its ID an image has no repository, so that any will do that has delivered it.
	return i.delivered(func(_ string, g Grant) bool { return g.allows(holders...) })
}

// delivered reports whether ok is true of a grant by whose repository all layers came.
func (i Image) delivered(ok func(repository string, g Grant) bool) bool {
	for repository, g := range i.Grants {
		if g.Delivered && ok(repository, g) {
			return true
		}
	}
	return false
}

// maySkipLayers reports whether images show that whoever pulls under names may have the layers of a disk without fetching them:
// one of the repositories has delivered them before, or they have brought them from another, or everyone may have them.
func maySkipLayers(images []Image, diskDigest string, names naming) bool {
	repositories := names.repositories()
	return slices.ContainsFunc(images, func(img Image) bool {
		return img.DiskDigest == diskDigest && (len(img.Grants) == 0 || img.delivered(func(repository string, g Grant) bool {
			return slices.Contains(repositories, repository) || g.allows(names.holder)
		}))
	})
}

// granted returns grants with one more holder for all repositories of names.
func granted(grants map[string]Grant, names naming) map[string]Grant {
	all := maps.Clone(grants)
	if all == nil {
		all = map[string]Grant{}
	}
	for _, repository := range names.repositories() {
		g := all[repository]
		if names.holder == "" {
			g.Everyone = true
		} else {
			g.Holders = sortedUnion(bounded(g.Holders), []string{names.holder})
		}
		g.Delivered = g.Delivered || names.delivered
		all[repository] = g
	}
	return all
}
