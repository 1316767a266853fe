package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/virtual-kubelet/vic/provider"
)

// capacityFlags say what a node offers, and when it is short of it.
type capacityFlags struct {
	cpu             int64
	memory, storage quantityFlag
	pods            int64
	reserved        resourcesFlag
	transition      time.Duration
}

func (f *capacityFlags) add(cmd *cobra.Command) {
	*f = capacityFlags{transition: provider.DefaultPressureTransition}
	cmd.Flags().Int64Var(&f.cpu, "cpu", 0, "processors that the node offers to pods; 0 is the machine's")
	cmd.Flags().Var(&f.memory, "memory", "memory that the node offers to pods, such as 8Gi (default: the machine's)")
	cmd.Flags().Var(&f.storage, "ephemeral-storage", "storage that the node offers to pods, such as 100Gi (default: the state directory's disk)")
	cmd.Flags().Int64Var(&f.pods, "pods", 0, "pods that the node has room for; 0 is 110, the kubelet's default")
	cmd.Flags().Var(&f.reserved, "reserved", "`RESOURCE=QUANTITY,…` of that to keep from pods: cpu, memory, ephemeral-storage")
	cmd.Flags().DurationVar(&f.transition, "eviction-pressure-transition-period", f.transition, "how long the node tells of a pressure after it was seen last")
}

func (f *capacityFlags) validate() error {
	switch {
	case f.cpu < 0:
		return misused("--cpu %d is below zero", f.cpu)
	case f.pods < 0:
		return misused("--pods %d is below zero", f.pods)
	case f.transition < 0:
		return misused("--eviction-pressure-transition-period %v is below zero", f.transition)
	}
	return nil
}

// capacity is what the configuration says of them.
func (f *vchFile) capacity(transition time.Duration) (capacityFlags, error) {
	c := capacityFlags{cpu: f.CPU, pods: f.Pods, reserved: resourcesFlag{}, transition: transition}
	if f.Memory != "" {
		if err := c.memory.Set(f.Memory); err != nil {
			return c, fmt.Errorf("memory: %w", err)
		}
	}
	if f.EphemeralStorage != "" {
		if err := c.storage.Set(f.EphemeralStorage); err != nil {
			return c, fmt.Errorf("ephemeralStorage: %w", err)
		}
	}
	for name, q := range f.Reserved {
		if err := c.reserved.put(name, q); err != nil {
			return c, fmt.Errorf("reserved: %w", err)
		}
	}
	return c, nil
}

// checkReserved refuses to reserve all that there is.
func (f *capacityFlags) checkReserved(capacity corev1.ResourceList) error {
	for name, reserved := range f.reserved {
		if has := capacity[name]; reserved.Cmp(has) >= 0 {
			return misused("--reserved %s=%s leaves nothing of the node's %s", name, reserved.String(), has.String())
		}
	}
	return nil
}

// reservable are the resources that may be reserved.
var reservable = []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage}

// resourcesFlag is an amount of each of some resources, such as cpu=500m,memory=1Gi.
type resourcesFlag corev1.ResourceList

// Type implements pflag.Value.
func (r *resourcesFlag) Type() string { return "resources" }

// String implements pflag.Value.
func (r *resourcesFlag) String() string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(*r)) {
		q := (*r)[name]
		all = append(all, string(name)+"="+q.String())
	}
	return strings.Join(all, ",")
}

// Set implements pflag.Value.
func (r *resourcesFlag) Set(s string) error {
	parsed := resourcesFlag{}
	for part := range strings.SplitSeq(s, ",") {
		name, text, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok {
			return fmt.Errorf("%q is not of the form RESOURCE=QUANTITY", part)
		}
		q, err := resource.ParseQuantity(text)
		if err != nil {
			return fmt.Errorf("%q is no quantity, such as 500m or 1Gi: %w", part, err)
		}
		if err := parsed.put(name, q); err != nil {
			return err
		}
	}
	*r = parsed
	return nil
}

func (r resourcesFlag) put(name string, q resource.Quantity) error {
	if !slices.Contains(reservable, corev1.ResourceName(name)) {
		return fmt.Errorf("%q is none of cpu, memory, ephemeral-storage", name)
	}
	if q.Sign() < 0 {
		return fmt.Errorf("%s=%s is below zero", name, q.String())
	}
	if _, twice := r[corev1.ResourceName(name)]; twice {
		return fmt.Errorf("%s is given twice", name)
	}
	r[corev1.ResourceName(name)] = q
	return nil
}
