package crun

import (
	"cmp"
	"path/filepath"
	"slices"

	"github.com/virtual-kubelet/vic/guest/usage"
	"github.com/virtual-kubelet/vic/guest/wire"
)

// Usage returns what the running containers use, in the order of their names. One that ends meanwhile is left out.
func (r *Runtime) Usage() []wire.ContainerStats {
	var all []wire.ContainerStats
	for _, name := range r.names() {
		if _, err := r.running(name); err != nil {
			continue
		}
		if u, err := usage.OfCgroup(filepath.Join(r.c.CgroupRoot, r.cgroup(name))); err == nil {
			all = append(all, wire.ContainerStats{Name: name, Usage: u})
		}
	}
	slices.SortFunc(all, func(a, b wire.ContainerStats) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

func (r *Runtime) names() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	names := make([]string, 0, len(r.tasks))
	for name := range r.tasks {
		names = append(names, name)
	}
	return names
}
