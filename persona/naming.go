package persona

import "slices"

// naming says which names an image gets.
type naming struct {
	tags    []string
	digests []string
	// holder is who may have it under these names; empty is everyone.
	holder string
	// delivered is set where all layers came with the image.
	delivered bool
}

// repositories are those of all names.
func (n naming) repositories() []string {
	var all []string
	for _, name := range slices.Concat(n.tags, n.digests) {
		if named, err := parseName(name); err == nil && !slices.Contains(all, named.Name()) {
			all = append(all, named.Name())
		}
	}
	return all
}

// enter puts img and its names into images. A tag means one image, so others lose it.
func enter(images []Image, img Image, names naming) ([]Image, Image) {
	for i := range images {
		images[i].Names = without(images[i].Names, names.tags)
		images[i].RepoDigests = without(images[i].RepoDigests, names.digests)
	}
	if i := slices.IndexFunc(images, func(o Image) bool { return o.Digest == img.Digest }); i >= 0 {
		img.Names, img.RepoDigests, img.Grants = images[i].Names, images[i].RepoDigests, images[i].Grants
		images = slices.Delete(images, i, i+1)
	}
	img.Names = sortedUnion(bounded(img.Names), names.tags)
	img.RepoDigests = sortedUnion(bounded(img.RepoDigests), names.digests)
	img.Grants = granted(img.Grants, names)
	return append(images, img), img
}

// maxNames is about how many names, and holders of a grant, are kept of one image. Whoever comes with one that was forgotten
// asks the registry.
const maxNames = 256

// bounded leaves room for one more.
func bounded(names []string) []string { return names[:min(len(names), maxNames-1)] }

func without(names, gone []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return slices.Contains(gone, n) })
}

func sortedUnion(a, b []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(slices.Concat(a, b))))
}
