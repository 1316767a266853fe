package plan

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/moby/profiles/seccomp"
	"github.com/moby/sys/capability"
	"github.com/opencontainers/runtime-spec/specs-go"
	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/operations/environment"
)

// security is what the security contexts of pod and container say beside users.
func security(pod *corev1.Pod, c *corev1.Container) (wire.Security, error) {
	var s wire.Security
	var profile *corev1.SeccompProfile
	if p := pod.Spec.SecurityContext; p != nil {
		s.Groups = slices.Clone(p.SupplementalGroups)
		s.OnlyGroups = p.SupplementalGroupsPolicy != nil && *p.SupplementalGroupsPolicy == corev1.SupplementalGroupsPolicyStrict
		profile = p.SeccompProfile
	}
	granted := wire.DefaultCapabilities()
	if own := c.SecurityContext; own != nil {
		s.Privileged = isTrue(own.Privileged)
		s.NoNewPrivileges = own.AllowPrivilegeEscalation != nil && !*own.AllowPrivilegeEscalation
		s.UnmaskedProc = own.ProcMount != nil && *own.ProcMount == corev1.UnmaskedProcMount
		if own.SeccompProfile != nil {
			profile = own.SeccompProfile
		}
		if asked := own.Capabilities; asked != nil && len(asked.Add)+len(asked.Drop) > 0 {
			var err error
			if granted, err = capabilities(asked); err != nil {
				return wire.Security{}, err
			}
			s.DropCapabilities, s.AddCapabilities = []string{wire.AllCapabilities}, granted
		}
	}
	// Nothing confines a privileged container, as with other runtimes.
	if s.Privileged || profile == nil || profile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		return s, nil
	}
	var err error
	s.Seccomp, err = defaultSeccomp(granted)
	return s, err
}

// capabilities are what a container has that asks for changes of the default, sorted. ALL of either list comes before
// single names, and a name that is dropped stays dropped, as containerd has it.
func capabilities(asked *corev1.Capabilities) ([]string, error) {
	add, err := capabilityNames(asked.Add)
	if err != nil {
		return nil, err
	}
	drop, err := capabilityNames(asked.Drop)
	if err != nil {
		return nil, err
	}
	granted := wire.DefaultCapabilities()
	if slices.Contains(add, wire.AllCapabilities) {
		granted = knownCapabilities()
	}
	if slices.Contains(drop, wire.AllCapabilities) {
		granted = nil
	}
	granted = slices.DeleteFunc(append(granted, add...), func(name string) bool {
		return name == wire.AllCapabilities || slices.Contains(drop, name)
	})
	slices.Sort(granted)
	return slices.Compact(granted), nil
}

// capabilityNames are names without CAP_. One that does not exist keeps the container from being made.
func capabilityNames(names []corev1.Capability) ([]string, error) {
	known := knownCapabilities()
	all := make([]string, 0, len(names))
	for _, c := range names {
		name := strings.TrimPrefix(strings.ToUpper(string(c)), "CAP_")
		if name != wire.AllCapabilities && !slices.Contains(known, name) {
			return nil, &environment.ConfigError{
				Reason: environment.ReasonCreateContainerError, Message: fmt.Sprintf("unknown capability %q", string(c)),
			}
		}
		all = append(all, name)
	}
	return all, nil
}

func knownCapabilities() []string {
	var all []string
	for _, c := range capability.ListKnown() {
		all = append(all, strings.ToUpper(c.String()))
	}
	return all
}

// defaultSeccomp is the profile RuntimeDefault as container engines have it, for a container with those capabilities: what
// it lets pass depends on them.
func defaultSeccomp(granted []string) (json.RawMessage, error) {
	bounding := make([]string, 0, len(granted))
	for _, c := range granted {
		bounding = append(bounding, "CAP_"+c)
	}
	profile, err := seccomp.GetDefaultProfile(&specs.Spec{
		Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: bounding}},
	})
	if err != nil {
		return nil, fmt.Errorf("seccomp profile RuntimeDefault: %w", err)
	}
	encoded, err := json.Marshal(profile)
	if err != nil {
		return nil, fmt.Errorf("seccomp profile RuntimeDefault: %w", err)
	}
	return encoded, nil
}
