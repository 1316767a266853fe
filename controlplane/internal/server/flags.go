package server

import (
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/pflag"
	cliflag "k8s.io/component-base/cli/flag"
)

// settings are the flags of a component, by their names.
type settings map[string]string

// apply sets a component's options by its own flags: they are what Kubernetes documents and keeps stable.
func (s settings) apply(sets cliflag.NamedFlagSets) error {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	for _, set := range sets.FlagSets {
		flags.AddFlagSet(set)
	}
	for _, name := range slices.Sorted(maps.Keys(s)) {
		if err := flags.Set(name, s[name]); err != nil {
			return fmt.Errorf("set --%s: %w", name, err)
		}
	}
	return nil
}
