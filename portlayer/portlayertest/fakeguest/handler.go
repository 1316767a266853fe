package fakeguest

import (
	"encoding/json"
	"errors"
	"net/http"
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
	ready, err := g.Configure(pod)
	answer(w, ready, err)
}

func (g *Guest) putFiles(w http.ResponseWriter, r *http.Request) {
	var files wire.Files
	if !g.body(w, r, &files) {
		return
	}
	answer(w, nil, g.PutFiles(files))
}

func (g *Guest) putContainer(w http.ResponseWriter, r *http.Request) {
	var spec wire.Container
	if !g.body(w, r, &spec) {
		return
	}
	if spec.Name != r.PathValue("container") {
		http.Error(w, "no container "+spec.Name, http.StatusNotFound)
		return
	}
	answer(w, nil, g.Run(spec))
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
			g.ackLocked(ack)
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

func (g *Guest) getStats(w http.ResponseWriter, _ *http.Request) { reply(w, g.Stats()) }

func (g *Guest) postStop(w http.ResponseWriter, r *http.Request) {
	var stop wire.Stop
	if !g.body(w, r, &stop) {
		return
	}
	g.Stop(stop)
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

// answer sends a result, nil for none, or why there is none.
func answer(w http.ResponseWriter, v any, err error) {
	var refused *RefusedError
	switch {
	case errors.As(err, &refused):
		http.Error(w, refused.Text, refused.Status)
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	case v != nil:
		reply(w, v)
	}
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the host is gone when it fails
}
