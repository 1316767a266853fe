package plan

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/operations/environment"
)

// defaultPath is the PATH of a container whose image and pod set none, as container runtimes have it.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// ImageConfig is the part of an image's configuration that a container starts from.
type ImageConfig struct {
	Entrypoint []string
	Cmd        []string
	Env        []string // KEY=VALUE
	User       string
	WorkingDir string
	StopSignal string
}

// ContainerInputs are what Container needs beside the pod's spec.
type ContainerInputs struct {
	Image ImageConfig
	// Env is what environment.Resolver.Env returned; the image's variables that it does not set are added here.
	Env []string
	// Disks are the serial numbers of the image's disks, topmost first.
	Disks    []string
	Defaults Defaults
	// ClusterDomain is PodInputs.ClusterDomain.
	ClusterDomain string
}

// Container returns how the guest runs m. Errors that another version of the pod mends are *environment.ConfigError.
func Container(pod *corev1.Pod, m Member, in ContainerInputs) (wire.Container, error) {
	c := m.Container
	args, err := arguments(c, in)
	if err != nil {
		return wire.Container{}, err
	}
	user, err := user(pod, c, in.Image.User)
	if err != nil {
		return wire.Container{}, err
	}
	mounts, err := mounts(pod, c, in.Env)
	if err != nil {
		return wire.Container{}, err
	}
	env, err := completeEnv(pod, c, in)
	if err != nil {
		return wire.Container{}, err
	}
	out := wire.Container{
		Name:                      c.Name,
		Revision:                  m.Revision(),
		Ephemeral:                 m.Role == wire.RoleEphemeral,
		Target:                    m.Target,
		RestartRules:              restartRules(c),
		Disks:                     in.Disks,
		Args:                      args,
		Env:                       env,
		WorkingDir:                cmp.Or(c.WorkingDir, in.Image.WorkingDir, "/"),
		User:                      user,
		TTY:                       c.TTY,
		Stdin:                     c.Stdin,
		StdinOnce:                 c.StdinOnce,
		Mounts:                    mounts,
		Devices:                   devices(c),
		Resources:                 resources(pod, c, in.Defaults),
		StopSignal:                in.Image.StopSignal,
		TerminationMessagePath:    cmp.Or(c.TerminationMessagePath, corev1.TerminationMessagePathDefault),
		TerminationMessageFromLog: c.TerminationMessagePolicy == corev1.TerminationMessageFallbackToLogsOnError,
		ReadOnlyRoot:              c.SecurityContext != nil && isTrue(c.SecurityContext.ReadOnlyRootFilesystem),
	}
	if c.RestartPolicy != nil {
		out.RestartPolicy = string(*c.RestartPolicy)
	}
	if out.Security, err = security(pod, c); err != nil {
		return wire.Container{}, err
	}
	if err := health(&out, c, in.Env); err != nil {
		return wire.Container{}, err
	}
	return out, nil
}

// arguments are the command line: the pod's command and args in place of the image's entrypoint and cmd. A command of
// the pod takes away the image's cmd too. $(VAR) refers to the pod's variables, not to the image's.
func arguments(c *corev1.Container, in ContainerInputs) ([]string, error) {
	lookup := environment.Lookup(in.Env)
	expand := func(all []string) []string {
		out := make([]string, 0, len(all))
		for _, s := range all {
			out = append(out, environment.Expand(s, lookup))
		}
		return out
	}
	var args []string
	switch {
	case len(c.Command) > 0:
		args = expand(slices.Concat(c.Command, c.Args))
	case len(c.Args) > 0:
		args = slices.Concat(in.Image.Entrypoint, expand(c.Args))
	default:
		args = slices.Concat(in.Image.Entrypoint, in.Image.Cmd)
	}
	if len(args) == 0 {
		return nil, &environment.ConfigError{
			Reason:  environment.ReasonCreateContainerError,
			Message: "no command specified: neither the pod nor the image says what to run",
		}
	}
	return args, nil
}

// completeEnv puts the runtime's and the image's variables before the pod's; of one name the last value stays, at the
// first one's place.
func completeEnv(pod *corev1.Pod, c *corev1.Container, in ContainerInputs) ([]string, error) {
	hostname, err := Hostname(pod, in.ClusterDomain)
	if err != nil {
		return nil, err
	}
	runtime := []string{"PATH=" + defaultPath, "HOSTNAME=" + hostname}
	if c.TTY {
		runtime = append(runtime, "TERM=xterm")
	}
	var env []string
	at := map[string]int{}
	for _, e := range slices.Concat(runtime, in.Image.Env, in.Env) {
		name, _, _ := strings.Cut(e, "=")
		if i, ok := at[name]; ok {
			env[i] = e
			continue
		}
		at[name] = len(env)
		env = append(env, e)
	}
	return env, nil
}

// mounts are those of c, parents before what is mounted in them.
func mounts(pod *corev1.Pod, c *corev1.Container, env []string) ([]wire.Mount, error) {
	lookup := environment.Lookup(env)
	all := make([]wire.Mount, 0, len(c.VolumeMounts))
	for i := range c.VolumeMounts {
		m := &c.VolumeMounts[i]
		sub, err := subPath(m, lookup)
		if err != nil {
			return nil, err
		}
		all = append(all, wire.Mount{
			Volume: m.Name, Path: path.Clean("/" + m.MountPath), SubPath: sub,
			ReadOnly: m.ReadOnly || claimReadOnly(pod, m.Name), Options: m.BindMountOptions,
		})
	}
	slices.SortStableFunc(all, func(a, b wire.Mount) int {
		return cmp.Compare(strings.Count(a.Path, "/"), strings.Count(b.Path, "/"))
	})
	return all, nil
}

// subPath is the path in the volume that m mounts. A reference to nothing must not become a path.
func subPath(m *corev1.VolumeMount, lookup func(string) (string, bool)) (string, error) {
	if m.SubPathExpr == "" {
		return m.SubPath, nil
	}
	var missing []string
	sub := environment.Expand(m.SubPathExpr, func(name string) (string, bool) {
		value, ok := lookup(name)
		if !ok {
			missing = append(missing, name)
		}
		return value, ok
	})
	switch {
	case len(missing) > 0:
		return "", configError("subPathExpr %q of volume %s: missing value for %s", m.SubPathExpr, m.Name, missing)
	case path.IsAbs(sub), slices.Contains(strings.Split(sub, "/"), ".."):
		return "", configError("subPathExpr %q of volume %s: %q is not a path inside the volume", m.SubPathExpr, m.Name, sub)
	}
	return sub, nil
}

// resources bound c. Without a limit of its own it may use what all containers may together, so that too much is always
// its cgroup's death and not the VM's.
func resources(pod *corev1.Pod, c *corev1.Container, d Defaults) wire.Resources {
	memory := amount(c.Resources.Limits, corev1.ResourceMemory)
	if memory == 0 {
		memory = podMemory(pod, d)
	}
	return wire.Resources{
		MemoryBytes:     memory,
		CPUMilli:        amount(c.Resources.Limits, corev1.ResourceCPU),
		CPURequestMilli: amount(c.Resources.Requests, corev1.ResourceCPU),
	}
}

func isTrue(b *bool) bool { return b != nil && *b }

func configError(format string, args ...any) *environment.ConfigError {
	return &environment.ConfigError{
		Reason:  environment.ReasonCreateContainerConfigError,
		Message: fmt.Sprintf(format, args...),
	}
}
