package fakeguest

import (
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/virtual-kubelet/vic/guest/wire"
)

func (g *Guest) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+wire.PathHello, g.getHello)
	mux.HandleFunc("PUT "+wire.PathPod, g.putPod)
	mux.HandleFunc("PUT "+wire.PathFiles, g.putFiles)
	mux.HandleFunc("PUT "+wire.PathContainer, g.putContainer)
	mux.HandleFunc("PUT "+wire.PathBoot, g.putBoot)
	mux.HandleFunc("GET "+wire.PathSnapshot, g.getSnapshot)
	mux.HandleFunc("GET "+wire.PathStats, g.getStats)
	mux.HandleFunc("POST "+wire.PathStop, g.postStop)
	mux.HandleFunc("POST "+wire.PathPowerOff, g.postPowerOff)
	mux.HandleFunc("PUT "+wire.PathClock, g.putClock)
	mux.HandleFunc("GET "+wire.PathLog, g.getLog)
	mux.HandleFunc("DELETE "+wire.PathLog, g.deleteLog)
	mux.HandleFunc("POST "+wire.PathExec, g.postExec)
	mux.HandleFunc("POST "+wire.PathAttach, g.postAttach)
	mux.HandleFunc("POST "+wire.PathDial, g.postDial)
	return mux
}

func (g *Guest) getHello(w http.ResponseWriter, _ *http.Request) {
	g.mu.Lock()
	g.greetings++
	g.mu.Unlock()
	g.hello(w)
}

func (g *Guest) hello(w http.ResponseWriter) {
	g.mu.Lock()
	configured := g.pod != nil
	now := time.Now().Add(g.skew)
	g.mu.Unlock()
	reply(w, wire.Hello{BootID: g.BootID(), Version: "fake", Kernel: "none", Configured: configured, Time: now})
}

func (g *Guest) putBoot(w http.ResponseWriter, r *http.Request) {
	var b wire.BootName
	if !g.body(w, r, &b) {
		return
	}
	g.mu.Lock()
	if g.phase == wire.PhaseWaiting {
		g.bootID = b.ID
	}
	g.mu.Unlock()
	g.hello(w)
}

func (g *Guest) putPod(w http.ResponseWriter, r *http.Request) {
	var pod wire.Pod
	if !g.body(w, r, &pod) {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.pod != nil && !samePod(*g.pod, pod):
		http.Error(w, "another pod is configured", http.StatusConflict)
		return
	case len(pod.Entropy) < 32 || pod.Time.IsZero():
		http.Error(w, "no entropy or no time", http.StatusBadRequest)
		return
	case pod.ScratchDisk != "" && !g.config.HasDisk(pod.ScratchDisk):
		http.Error(w, "no disk "+pod.ScratchDisk, http.StatusBadRequest)
		return
	case slices.ContainsFunc(pod.Volumes, func(v wire.Volume) bool { return v.Disk != "" && !g.config.HasDisk(v.Disk) }):
		http.Error(w, "a volume has no disk", http.StatusBadRequest)
		return
	case g.pod == nil:
		g.pod, g.phase = &pod, wire.PhaseConfigured
		for _, seed := range pod.Containers {
			g.containers = append(g.containers, newContainer(g, seed))
		}
		g.tellLocked()
	}
	reply(w, wire.Ready{Addresses: addresses(pod)})
}

// samePod compares what a host says again with what it said; time and entropy differ each time.
func samePod(a, b wire.Pod) bool {
	a.Time, a.Entropy, b.Time, b.Entropy = time.Time{}, nil, time.Time{}, nil
	return reflect.DeepEqual(a, b)
}

func (g *Guest) putFiles(w http.ResponseWriter, r *http.Request) {
	var files wire.Files
	if !g.body(w, r, &files) {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pod == nil || !slices.ContainsFunc(g.pod.Volumes, func(v wire.Volume) bool { return v.Name == files.Volume }) {
		http.Error(w, "no volume "+files.Volume, http.StatusNotFound)
		return
	}
	g.files[files.Volume] = files
}

func (g *Guest) putContainer(w http.ResponseWriter, r *http.Request) {
	var spec wire.Container
	if !g.body(w, r, &spec) {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.findLocked(r.PathValue("container"))
	if c == nil && spec.Ephemeral && g.pod != nil {
		c = newContainer(g, wire.Seed{Name: spec.Name, Role: wire.RoleEphemeral})
		g.containers = append(g.containers, c)
	}
	if c == nil || spec.Name != c.status.Name {
		http.Error(w, "no container "+spec.Name, http.StatusNotFound)
		return
	}
	for _, d := range spec.Disks {
		if !g.config.HasDisk(d) {
			http.Error(w, "no disk "+d, http.StatusBadRequest)
			return
		}
	}
	if c.status.Final || c.status.Known && c.spec.Revision == spec.Revision {
		return
	}
	replaced := c.status.Known
	c.spec, c.status.Known, c.status.Revision = spec, true, spec.Revision
	if replaced && c.stop != nil && c.role != wire.RoleInit {
		c.anew = true
		c.stopLocked()
	}
	g.advanceLocked()
	g.tellLocked()
}

func (g *Guest) getSnapshot(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	after, _ := strconv.ParseUint(q.Get("after"), 10, 64) // absent means 0
	ack, _ := strconv.ParseUint(q.Get("ack"), 10, 64)
	sameBoot := q.Get("boot") == g.BootID()
	timeout := time.NewTimer(wire.SnapshotWait)
	defer timeout.Stop()
	for {
		g.mu.Lock()
		if sameBoot {
			g.events = slices.DeleteFunc(g.events, func(e wire.Event) bool { return e.Seq <= ack })
		}
		s, changed, generation := g.snapshotLocked(), g.changed, g.generation
		g.mu.Unlock()
		if !q.Has("after") || !sameBoot || generation > after {
			reply(w, s)
			return
		}
		select {
		case <-changed:
		case <-timeout.C:
			reply(w, s)
			return
		case <-r.Context().Done():
			return
		}
	}
}

// getStats says that each container that runs uses a MiB and a second.
func (g *Guest) getStats(w http.ResponseWriter, _ *http.Request) {
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
	reply(w, s)
}

func (g *Guest) postStop(w http.ResponseWriter, r *http.Request) {
	var stop wire.Stop
	if !g.body(w, r, &stop) {
		return
	}
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
	g.tellLocked()
}

func (g *Guest) postPowerOff(w http.ResponseWriter, r *http.Request) {
	g.body(w, r, nil)
	w.WriteHeader(http.StatusOK)
	// The VM is gone with this call; ends when it is.
	go g.config.PowerOff()
}

func (g *Guest) putClock(w http.ResponseWriter, r *http.Request) {
	var clock wire.Clock
	if !g.body(w, r, &clock) {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.clock, g.skew = clock.Time, time.Until(clock.Time)
}

// body notes a call and decodes what it carries.
func (g *Guest) body(w http.ResponseWriter, r *http.Request, v any) bool {
	g.mu.Lock()
	g.calls = append(g.calls, r.Method+" "+r.URL.Path)
	g.mu.Unlock()
	if v == nil {
		return true
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, wire.MaxBodyBytes)).Decode(v); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the host is gone when it fails
}
