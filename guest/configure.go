package guest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/guest/boot"
	"github.com/virtual-kubelet/vic/guest/crun"
	"github.com/virtual-kubelet/vic/guest/disk"
	"github.com/virtual-kubelet/vic/guest/logfile"
	"github.com/virtual-kubelet/vic/guest/network"
	"github.com/virtual-kubelet/vic/guest/supervisor"
	"github.com/virtual-kubelet/vic/guest/volume"
	"github.com/virtual-kubelet/vic/guest/wire"
)

// Where a pod lives in the guest.
const (
	scratchDir    = "/scratch"
	runDir        = "/run/vic"
	podCgroup     = "/pod"
	program       = "/init" // this one, in the initrd
	shmBytes      = 64 << 20
	minEntropy    = 32
	maxInterfaces = 16
	maxHostname   = 64 // of the kernel
)

// reserveBytes of memory are kept from the pod, so that what runs out is a container's or the pod's cgroup and never the
// VM.
const reserveBytes = 24 << 20

// maxProcesses leaves some of the kernel's 32768 to the guest.
const maxProcesses = "30000"

// steps are what Configure has done. Each is done once, also when a later one fails and the host tries again.
type steps struct {
	first   *wire.Pod
	network []wire.Interface // set up
	scratch bool
	shm     bool
	volumes *volume.Set
	logs    *logfile.Store
}

// Configure implements [server.System]. It may be called again with the same pod.
func (s *system) Configure(ctx context.Context, pod wire.Pod) (wire.Ready, error) {
	s.applying.Lock()
	defer s.applying.Unlock()
	if err := s.check(pod); err != nil {
		return wire.Ready{}, err
	}
	ready := wire.Ready{Addresses: addresses(pod)}
	if s.configured() {
		s.supervisor.SetDeadline(pod.Deadline)
		return ready, nil
	}
	s.steps.first = &pod
	runtime, err := s.configure(ctx, pod)
	if err != nil {
		return wire.Ready{}, fmt.Errorf("configure pod: %w", err)
	}
	if err := s.supervisor.Configure(pod, ready.Addresses); err != nil {
		return wire.Ready{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pod, s.volumes, s.logs, s.runtime = &pod, s.steps.volumes, s.steps.logs, runtime
	return ready, nil
}

func (s *system) configured() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pod != nil
}

// samePod compares what a host may not change; clock and entropy are new with each call, and the deadline may be.
func samePod(a, b wire.Pod) bool {
	a.Deadline, b.Deadline = time.Time{}, time.Time{}
	a.Time, a.Entropy, b.Time, b.Entropy = time.Time{}, nil, time.Time{}, nil
	return reflect.DeepEqual(a, b)
}

func (s *system) check(pod wire.Pod) error {
	if s.steps.first != nil && !samePod(*s.steps.first, pod) {
		return fmt.Errorf("configure pod: %w", supervisor.ErrConflict)
	}
	switch {
	case len(pod.Entropy) < minEntropy:
		return fmt.Errorf("%d bytes of entropy are %w", len(pod.Entropy), supervisor.ErrInvalid)
	case len(pod.Interfaces) > maxInterfaces:
		return fmt.Errorf("%d interfaces are %w", len(pod.Interfaces), supervisor.ErrInvalid)
	case pod.Time.IsZero():
		return fmt.Errorf("a pod without the time is %w", supervisor.ErrInvalid)
	case pod.Hostname == "" || len(pod.Hostname) > maxHostname:
		return fmt.Errorf("host name %q is %w", pod.Hostname, supervisor.ErrInvalid)
	}
	return supervisor.Check(pod)
}

func addresses(pod wire.Pod) []netip.Addr {
	var a []netip.Addr
	for _, i := range pod.Interfaces {
		for _, p := range i.Addresses {
			a = append(a, p.Addr())
		}
	}
	return a
}

// configure does the steps. Network and disk take the most time, and need nothing of each other.
func (s *system) configure(ctx context.Context, pod wire.Pod) (*crun.Runtime, error) {
	if err := errors.Join(boot.SetClock(pod.Time), boot.AddEntropy(pod.Entropy)); err != nil {
		return nil, err
	}
	if err := unix.Sethostname([]byte(pod.Hostname)); err != nil {
		return nil, fmt.Errorf("set host name: %w", err)
	}
	if err := limitPod(); err != nil {
		return nil, fmt.Errorf("limit the pod's memory: %w", err)
	}
	g, both := errgroup.WithContext(ctx)
	g.Go(func() error { return s.joinNetwork(both, pod.Interfaces) })
	g.Go(func() error { return s.openScratch(both, pod) })
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return s.makeRuntime(ctx, pod)
}

func (s *system) joinNetwork(ctx context.Context, interfaces []wire.Interface) error {
	if err := network.Loopback(); err != nil {
		return err
	}
	for _, i := range interfaces {
		if slices.ContainsFunc(s.steps.network, func(done wire.Interface) bool { return reflect.DeepEqual(done, i) }) {
			continue
		}
		err := network.Configure(ctx, i)
		if errors.Is(err, network.ErrAddressInUse) {
			s.supervisor.Event(wire.Event{Warning: true, Reason: "FailedCreatePodSandBox", Message: err.Error()})
			return fmt.Errorf("%w: %w", supervisor.ErrConflict, err)
		}
		if err != nil {
			return err
		}
		s.steps.network = append(s.steps.network, i)
	}
	return nil
}

var finder = disk.Finder{Sys: "/sys", Dev: "/dev"}

func (s *system) openScratch(ctx context.Context, pod wire.Pod) error {
	if s.steps.scratch {
		return nil
	}
	device, err := finder.Find(ctx, pod.ScratchDisk)
	if err != nil {
		return err
	}
	if err := disk.Scratch(ctx, s.reaper, device, scratchDir); err != nil {
		return err
	}
	s.steps.scratch = true
	return nil
}

// makeRuntime makes what containers share: volumes, logs, files in /etc, shared memory.
func (s *system) makeRuntime(ctx context.Context, pod wire.Pod) (*crun.Runtime, error) {
	if err := s.openVolumes(ctx, pod); err != nil {
		return nil, err
	}
	if err := setSysctls("/proc/sys", pod.Sysctls); err != nil {
		return nil, err
	}
	if s.steps.logs == nil {
		logs, err := logfile.NewStore(filepath.Join(scratchDir, "logs"))
		if err != nil {
			return nil, err
		}
		s.steps.logs = logs
	}
	binds, err := writeEtc(filepath.Join(runDir, "etc"), pod)
	if err != nil {
		return nil, err
	}
	shm, err := s.mountShm()
	if err != nil {
		return nil, err
	}
	run := filepath.Join(runDir, "c")
	if err := os.MkdirAll(run, 0o700); err != nil {
		return nil, err
	}
	return crun.New(crun.Config{
		Reaper: s.reaper, Images: &disk.Images{Finder: finder, Dir: filepath.Join(runDir, "images")},
		Volumes: s.steps.volumes, Logs: s.steps.logs, Run: run, Layers: filepath.Join(scratchDir, "layers"),
		CgroupRoot: boot.CgroupRoot, Cgroup: podCgroup, Hostname: pod.Hostname, FSGroup: pod.FSGroup, Binds: append(binds, shm),
		ShareProcesses: pod.ShareProcesses, Program: program,
	})
}

// openVolumes makes the pod's volumes, each once.
func (s *system) openVolumes(ctx context.Context, pod wire.Pod) error {
	if s.steps.volumes == nil {
		s.steps.volumes = volume.New(volume.Config{
			Scratch: filepath.Join(scratchDir, "volumes"), Memory: filepath.Join(runDir, "volumes"), Disks: filepath.Join(runDir, "disks"),
			MountMemory: volume.MountTmpfs, MountDisk: s.mountDisk, FindDisk: finder.Find, Group: pod.FSGroup, GroupOnRootMismatch: pod.FSGroupOnRootMismatch,
		})
	}
	for _, v := range pod.Volumes {
		if err := s.steps.volumes.Add(ctx, v); err != nil {
			if v.Disk != "" {
				s.supervisor.Event(wire.Event{Warning: true, Reason: "FailedMount", Message: err.Error()})
			}
			return err
		}
	}
	return nil
}

// mountDisk mounts the disk of a persistent volume.
func (s *system) mountDisk(ctx context.Context, target string, v wire.Volume) error {
	device, err := finder.Find(ctx, v.Disk)
	if err != nil {
		return err
	}
	return disk.Volume(ctx, s.reaper, device, target, v.ReadOnly)
}

// limitPod makes the pod's cgroup, whose memory is what is free now less a reserve.
func limitPod() error {
	dir := filepath.Join(boot.CgroupRoot, podCgroup)
	if err := os.Mkdir(dir, 0o755); errors.Is(err, os.ErrExist) { // as every cgroup is
		return nil
	} else if err != nil {
		return err
	}
	available, err := boot.AvailableBytes()
	if err != nil {
		return err
	}
	limit := max(available-reserveBytes, available/2)
	if err := os.WriteFile(filepath.Join(dir, "memory.max"), []byte(strconv.FormatInt(limit, 10)), 0); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "pids.max"), []byte(maxProcesses), 0); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+cpu +memory +pids +io"), 0)
}
