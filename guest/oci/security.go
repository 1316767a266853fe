package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/moby/sys/capability"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// ErrSecurity says that a container asks for what the kernel does not have.
var ErrSecurity = errors.New("security settings are not valid")

// capabilities are the names that a process has: the default ones less those dropped, and those added. A privileged one
// has all.
func capabilities(s wire.Security) ([]string, error) {
	supported, err := capability.ListSupported()
	if err != nil {
		return nil, fmt.Errorf("list capabilities: %w", err)
	}
	all := make([]string, 0, len(supported))
	for _, c := range supported {
		all = append(all, "CAP_"+strings.ToUpper(c.String()))
	}
	if s.Privileged {
		return all, nil
	}
	dropped, err := named(s.DropCapabilities, all)
	if err != nil {
		return nil, err
	}
	added, err := named(s.AddCapabilities, all)
	if err != nil {
		return nil, err
	}
	usual := wire.DefaultCapabilities()
	return slices.DeleteFunc(all, func(c string) bool {
		kept := slices.Contains(usual, strings.TrimPrefix(c, "CAP_")) && !slices.Contains(dropped, c)
		return !kept && !slices.Contains(added, c)
	}), nil
}

// named are the full names of capabilities: "NET_ADMIN", "CAP_NET_ADMIN", "ALL".
func named(names, all []string) ([]string, error) {
	var full []string
	for _, n := range names {
		n = strings.TrimPrefix(strings.ToUpper(n), "CAP_")
		switch {
		case n == wire.AllCapabilities:
			full = append(full, all...)
		case slices.Contains(all, "CAP_"+n):
			full = append(full, "CAP_"+n)
		default:
			return nil, fmt.Errorf("%w: unknown capability %q", ErrSecurity, n)
		}
	}
	return full, nil
}

// seccomp is the filter of system calls, nil where there is none.
func seccomp(s wire.Security) (*specs.LinuxSeccomp, error) {
	if s.Privileged || len(s.Seccomp) == 0 {
		return nil, nil //nolint:nilnil // no filter is a filter too
	}
	var filter specs.LinuxSeccomp
	if err := json.Unmarshal(s.Seccomp, &filter); err != nil {
		return nil, fmt.Errorf("%w: seccomp: %w", ErrSecurity, err)
	}
	return &filter, nil
}

// WithGroups adds groups to a user's own, or puts them in place of those that the image gives.
func WithGroups(u specs.User, only bool, groups ...int64) (specs.User, error) {
	if only {
		u.AdditionalGids = nil
	}
	for _, g := range groups {
		if g < 0 || g > maxID {
			return u, fmt.Errorf("%w: group id %d", ErrUser, g)
		}
		if id := uint32(g); !slices.Contains(u.AdditionalGids, id) {
			u.AdditionalGids = append(slices.Clip(u.AdditionalGids), id)
		}
	}
	return u, nil
}
