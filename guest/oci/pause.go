package oci

import (
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

const (
	pauseUser = 65535 // as the pause container elsewhere
	// pauseScore is the kubelet's (oom_score_adj): the pod is nothing without it.
	pauseScore = -998
)

// Pause says how to run process 1 of a pod's own process namespace.
type Pause struct {
	// Program is the guest's file of it, Name what it is called in the namespace.
	Program, Name string
	// Rootfs and CgroupPath are as in Config.
	Rootfs, CgroupPath string
}

// PauseSpec makes the runtime's config.json of p: it has nothing but its program, and may do nothing.
func PauseSpec(p Pause) *specs.Spec {
	score := pauseScore
	return &specs.Spec{
		Version: ociVersion,
		Process: &specs.Process{
			User: specs.User{UID: pauseUser, GID: pauseUser}, Args: []string{p.Name}, Cwd: "/",
			Capabilities: &specs.LinuxCapabilities{}, NoNewPrivileges: true, OOMScoreAdj: &score,
		},
		Root: &specs.Root{Path: p.Rootfs, Readonly: true},
		Mounts: []specs.Mount{
			procMount, devMount, // which the runtime wants
			{Destination: p.Name, Type: "bind", Source: p.Program, Options: []string{"bind", "ro", "nosuid", "nodev"}},
		},
		Linux: &specs.Linux{
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace}, {Type: specs.MountNamespace}, {Type: specs.CgroupNamespace},
			},
			CgroupsPath:       p.CgroupPath,
			Resources:         &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}},
			RootfsPropagation: "rprivate",
			MaskedPaths:       maskedPaths,
			ReadonlyPaths:     readonlyPaths,
		},
	}
}
