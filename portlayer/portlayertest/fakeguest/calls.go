package fakeguest

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"time"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// ErrEnded says that the boot is over: its VM does not run any more.
var ErrEnded = errors.New("the boot has ended")

// RefusedError is what the guest answers in place of a result.
type RefusedError struct {
	Status int // of HTTP, as on the wire
	Text   string
}

// Error is the text, as a host gets it.
func (e *RefusedError) Error() string { return e.Text }

func refuse(status int, format string, args ...any) error {
	return &RefusedError{Status: status, Text: fmt.Sprintf(format, args...)}
}

// Configure applies what all containers share (wire.PathPod).
func (g *Guest) Configure(pod wire.Pod) (wire.Ready, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.last != nil:
		return wire.Ready{}, ErrEnded
	case g.pod != nil && !samePod(*g.pod, pod):
		return wire.Ready{}, refuse(http.StatusConflict, "another pod is configured")
	case len(pod.Entropy) < 32 || pod.Time.IsZero():
		return wire.Ready{}, refuse(http.StatusBadRequest, "no entropy or no time")
	case pod.ScratchDisk != "" && !g.config.HasDisk(pod.ScratchDisk):
		return wire.Ready{}, refuse(http.StatusBadRequest, "no disk %s", pod.ScratchDisk)
	case slices.ContainsFunc(pod.Volumes, func(v wire.Volume) bool { return v.Disk != "" && !g.config.HasDisk(v.Disk) }):
		return wire.Ready{}, refuse(http.StatusBadRequest, "a volume has no disk")
	case g.pod == nil:
		g.pod, g.phase = &pod, wire.PhaseConfigured
		for _, seed := range pod.Containers {
			g.containers = append(g.containers, newContainer(g, seed))
		}
		g.notifyLocked()
	}
	return wire.Ready{Addresses: addresses(pod)}, nil
}

// samePod compares what a host says again with what it said; time and entropy differ each time.
func samePod(a, b wire.Pod) bool {
	a.Time, a.Entropy, b.Time, b.Entropy = time.Time{}, nil, time.Time{}, nil
	return reflect.DeepEqual(a, b)
}

// PutFiles replaces the content of one volume (wire.PathFiles).
func (g *Guest) PutFiles(files wire.Files) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pod == nil || !slices.ContainsFunc(g.pod.Volumes, func(v wire.Volume) bool { return v.Name == files.Volume }) {
		return refuse(http.StatusNotFound, "no volume %s", files.Volume)
	}
	g.files[files.Volume] = files
	return nil
}

// Run runs one container, now and as its restart policy says (wire.PathContainer).
func (g *Guest) Run(spec wire.Container) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.last != nil {
		return ErrEnded
	}
	c := g.findLocked(spec.Name)
	if c == nil && spec.Ephemeral && g.pod != nil {
		c = newContainer(g, wire.Seed{Name: spec.Name, Role: wire.RoleEphemeral})
		g.containers = append(g.containers, c)
	}
	if c == nil {
		return refuse(http.StatusNotFound, "no container %s", spec.Name)
	}
	for _, d := range spec.Disks {
		if !g.config.HasDisk(d) {
			return refuse(http.StatusBadRequest, "no disk %s", d)
		}
	}
	if c.status.Final || c.status.Known && c.spec.Revision == spec.Revision {
		return nil
	}
	replaced := c.status.Known
	c.spec, c.status.Known, c.status.Revision = spec, true, spec.Revision
	if replaced && c.stop != nil && c.role != wire.RoleInit {
		c.anew = true
		c.stopLocked()
	}
	g.advanceLocked()
	g.notifyLocked()
	return nil
}

// Stop ends all containers; the end is seen in snapshots (wire.PathStop).
func (g *Guest) Stop(stop wire.Stop) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stopReason = stop.Reason
	if g.phase != wire.PhaseDone {
		g.phase = wire.PhaseStopping
	}
	for _, c := range g.containers {
		c.stopLocked()
	}
	g.advanceLocked()
	g.notifyLocked()
}

// Stats says that each container that runs uses a MiB and a second (wire.PathStats).
func (g *Guest) Stats() wire.Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := wire.Stats{Time: time.Now()}
	for _, c := range g.containers {
		if c.status.State == wire.ContainerRunning {
			u := wire.Usage{CPU: time.Second, MemoryBytes: 1 << 20, WorkingSetBytes: 1 << 20, RSSBytes: 1 << 20, Processes: 1}
			s.Containers = append(s.Containers, wire.ContainerStats{Name: c.status.Name, Usage: u})
			s.Pod.CPU += u.CPU
			s.Pod.MemoryBytes += u.MemoryBytes
			s.Pod.WorkingSetBytes += u.WorkingSetBytes
		}
	}
	return s
}

// Snapshot is the guest's state; when the boot has ended, that of then (wire.PathSnapshot).
func (g *Guest) Snapshot() wire.Snapshot {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.snapshotLocked()
}

// Ack takes events up to seq out of all snapshots.
func (g *Guest) Ack(seq uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ackLocked(seq)
}

func (g *Guest) ackLocked(seq uint64) {
	dealtWith := func(e wire.Event) bool { return e.Seq <= seq }
	g.events = slices.DeleteFunc(g.events, dealtWith)
	if g.last != nil {
		g.last.Events = slices.DeleteFunc(g.last.Events, dealtWith)
	}
}
