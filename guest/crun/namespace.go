package crun

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/virtual-kubelet/vic/guest/oci"
	"github.com/virtual-kubelet/vic/guest/process"
	"github.com/virtual-kubelet/vic/guest/wire"
)

const (
	pauseID     = "pause"  // all others are long
	pauseDir    = ".pause" // no container's name begins with a dot
	pauseCgroup = "/pause" // beside the pod's, whose memory may run out
)

// sandbox is the process namespace that the pod's containers share.
type sandbox struct {
	mu      sync.Mutex       // held while the process is started; guards process
	process *process.Process // process 1 of the namespace; nil before the first container
}

// joins returns the process in whose namespace the container's processes run; nil is a namespace of its own.
func (r *Runtime) joins(ctx context.Context, c wire.Container) (*process.Process, error) {
	switch {
	case r.c.ShareProcesses:
		return r.pause(ctx)
	case c.Target != "":
		t, err := r.running(c.Target)
		if err != nil {
			return nil, err
		}
		return t.streams.process, nil
	default:
		return nil, nil //nolint:nilnil // a namespace of its own is not an error
	}
}

// namespace is the file of the process namespace that p is in.
func namespace(p *process.Process) string {
	if p == nil {
		return ""
	}
	return fmt.Sprintf("/proc/%d/ns/pid", p.Pid())
}

// pause returns process 1 of the pod's namespace, which is started with the first container. Nothing that a container does
// ends it.
func (r *Runtime) pause(ctx context.Context) (*process.Process, error) {
	s := &r.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		return s.process, nil
	}
	p, err := r.startPause(ctx)
	if err != nil {
		return nil, fmt.Errorf("make the pod's process namespace: %w", err)
	}
	s.process = p
	return p, nil
}

func (r *Runtime) startPause(ctx context.Context) (*process.Process, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), startTimeout)
	defer cancel()
	dir := filepath.Join(r.c.Run, pauseDir)
	rootfs := filepath.Join(dir, "rootfs")
	if err := os.MkdirAll(rootfs, 0o755); err != nil { // the mode of the container's root
		return nil, err
	}
	config, err := json.Marshal(oci.PauseSpec(oci.Pause{
		Program: r.c.Program, Name: process.PauseProgram, Rootfs: rootfs, CgroupPath: pauseCgroup,
	}))
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), config, 0o600); err != nil {
		return nil, err
	}
	release := r.c.Reaper.Hold()
	defer release()
	s := &streams{}
	err = r.runLaunch(ctx, launch{dir: dir, id: pauseID, args: []string{"run", "--detach", "--bundle", dir}}, s, nil, nil)
	if err != nil {
		_ = r.crun(ctx, dir, "delete", "--force", pauseID) // there may be nothing of it
		return nil, err
	}
	return s.process, nil
}

func ended(p *process.Process) bool {
	select {
	case <-p.Done():
		return true
	default:
		return false
	}
}
