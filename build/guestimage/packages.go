package guestimage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Package is one Debian package of the image.
type Package struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	// SHA256 is the digest of the .deb file, in hex, as the signed index of the distribution has it.
	SHA256 string `json:"sha256"`

	depends []string
}

// runtimePackages bring the programs of the initrd.
var runtimePackages = []string{"crun", "e2fsprogs"}

// bootPackages bring the boot loaders of the ISO.
var bootPackages = []string{"isolinux", "syslinux-common", "grub-efi-amd64-bin"}

// selection is what an image is made of.
type selection struct {
	// AptChanged is when what apt knows had changed last before it was asked.
	AptChanged time.Time `json:"aptChanged,omitzero"`

	Kernel  Package   `json:"kernel"`
	Runtime []Package `json:"runtime"`
	Boot    []Package `json:"boot,omitempty"` // only where there is to be an ISO
}

func (s selection) all() []Package { return slices.Concat([]Package{s.Kernel}, s.Runtime, s.Boot) }

// resolve asks apt's lists for the candidate of kernelPackage, of the runtime packages and of the libraries below them,
// and of what an ISO needs.
func resolve(ctx context.Context, kernelPackage string, iso bool) (selection, error) {
	var s selection
	var err error
	if s.Kernel, err = resolveKernel(ctx, kernelPackage); err != nil {
		return selection{}, err
	}
	if iso {
		if s.Boot, err = show(ctx, bootPackages); err != nil {
			return selection{}, err
		}
	}
	found := map[string]Package{}
	for want := runtimePackages; len(want) > 0; {
		packages, err := show(ctx, want)
		if err != nil {
			return selection{}, err
		}
		want = nil
		for _, p := range packages {
			found[p.Name] = p
		}
		for _, p := range packages {
			for _, d := range p.depends {
				if _, ok := found[d]; !ok && strings.HasPrefix(d, "lib") && !slices.Contains(want, d) {
					want = append(want, d)
				}
			}
		}
	}
	for _, p := range found {
		s.Runtime = append(s.Runtime, p)
	}
	slices.SortFunc(s.Runtime, func(a, b Package) int { return strings.Compare(a.Name, b.Name) })
	return s, nil
}

// resolveKernel follows a meta package, such as linux-image-cloud-amd64, to the package with the kernel.
func resolveKernel(ctx context.Context, name string) (Package, error) {
	for range 3 {
		packages, err := show(ctx, []string{name})
		if err != nil {
			return Package{}, err
		}
		next := slices.IndexFunc(packages[0].depends, func(d string) bool { return strings.HasPrefix(d, "linux-image-") })
		if next < 0 {
			return packages[0], nil
		}
		name = packages[0].depends[next]
	}
	return Package{}, fmt.Errorf("package %s leads to no kernel", name)
}

// errNotInLists says that apt knows no package of a name.
var errNotInLists = errors.New("not in apt's lists (apt-get update)")

func show(ctx context.Context, names []string) ([]Package, error) {
	out, err := command(ctx, "", "apt-cache", append([]string{"show", "--no-all-versions"}, names...)...)
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w: %w", strings.Join(names, ", "), errNotInLists, err)
	}
	var packages []Package
	for paragraph := range strings.SplitSeq(out, "\n\n") {
		p := parseParagraph(paragraph)
		known := slices.ContainsFunc(packages, func(q Package) bool { return q.Name == p.Name })
		if p.Name != "" && p.SHA256 != "" && !known {
			packages = append(packages, p)
		}
	}
	for _, name := range names {
		if !slices.ContainsFunc(packages, func(p Package) bool { return p.Name == name }) {
			return nil, fmt.Errorf("look up %s: %w", name, errNotInLists)
		}
	}
	return packages, nil
}

func parseParagraph(s string) Package {
	var p Package
	for line := range strings.SplitSeq(s, "\n") {
		key, value, _ := strings.Cut(line, ": ")
		switch key {
		case "Package":
			p.Name = value
		case "Version":
			p.Version = value
		case "SHA256":
			p.SHA256 = value
		case "Depends", "Pre-Depends":
			p.depends = append(p.depends, parseDepends(value)...)
		}
	}
	return p
}

// parseDepends returns the first alternative of each dependency, without its version.
func parseDepends(s string) []string {
	var names []string
	for d := range strings.SplitSeq(s, ",") {
		fields := strings.FieldsFunc(d, func(r rune) bool { return strings.ContainsRune(" |(:", r) })
		if len(fields) > 0 {
			names = append(names, fields[0])
		}
	}
	return names
}
