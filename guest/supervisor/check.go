package supervisor

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/virtual-kubelet/vic/guest/wire"
)

const (
	restartAlways    = "Always"
	restartOnFailure = "OnFailure"
	restartNever     = "Never"
)

var (
	validName       = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	restartPolicies = []string{restartAlways, restartOnFailure, restartNever}
	roles           = []wire.Role{wire.RoleApp, wire.RoleInit, wire.RoleSidecar, wire.RoleEphemeral}
)

// Check reports whether pod can be configured.
func Check(pod wire.Pod) error {
	if len(pod.Containers) > wire.MaxContainers {
		return fmt.Errorf("%d containers are %w", len(pod.Containers), ErrInvalid)
	}
	if !slices.Contains(restartPolicies, pod.RestartPolicy) {
		return fmt.Errorf("restart policy %q is %w", pod.RestartPolicy, ErrInvalid)
	}
	seen := map[string]bool{}
	for _, c := range pod.Containers {
		switch {
		case !validName.MatchString(c.Name) || seen[c.Name]:
			return fmt.Errorf("container name %q is %w", c.Name, ErrInvalid)
		case !slices.Contains(roles, c.Role):
			return fmt.Errorf("role %q of container %s is %w", c.Role, c.Name, ErrInvalid)
		}
		seen[c.Name] = true
	}
	return nil
}

func checkContainer(c wire.Container) error {
	switch {
	case !validName.MatchString(c.Name):
		return fmt.Errorf("container name %q is %w", c.Name, ErrInvalid)
	case len(c.Revision) > wire.MaxRevisionBytes:
		return fmt.Errorf("revision of container %q with %d bytes is %w", c.Name, len(c.Revision), ErrInvalid)
	case len(c.Args) == 0 || len(c.Disks) == 0:
		return fmt.Errorf("container %q without arguments or disks is %w", c.Name, ErrInvalid)
	case c.RestartPolicy != "" && !slices.Contains(restartPolicies, c.RestartPolicy):
		return fmt.Errorf("restart policy %q of container %s is %w", c.RestartPolicy, c.Name, ErrInvalid)
	}
	_, err := parseSignal(c.StopSignal)
	return err
}
