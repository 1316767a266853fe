package hostile

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/yamux"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// answer serves the calls of one host as mode wants.
func (g *Guest) answer(conn io.ReadWriteCloser, mode Mode, until <-chan struct{}) {
	cfg := yamux.DefaultConfig()
	cfg.LogOutput, cfg.Logger = nil, log.New(io.Discard, "", 0)
	mux, err := yamux.Server(conn, cfg)
	if err != nil {
		return
	}
	go func() { // ends with the mode or the session
		select {
		case <-until:
		case <-mux.CloseChan():
		}
		_ = mux.Close() // who waits on it is to end
	}()
	if mode == Headers || mode == Slow {
		g.answerRaw(mux, mode)
		return
	}
	srv := &http.Server{Handler: g.handler(mode, until), ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	_ = srv.Serve(mux) // it ends with the session
}

// answerRaw answers every call with a header that does not end, or with one that comes a byte at a time.
func (g *Guest) answerRaw(mux *yamux.Session, mode Mode) {
	for {
		stream, err := mux.Accept()
		if err != nil {
			return
		}
		go func() { // ends with the session
			defer stream.Close()
			b := []byte("HTTP/1.1 200 OK\r\n")
			for _, err := stream.Write(b); err == nil; _, err = stream.Write(b) {
				b = []byte("X-More: " + strings.Repeat("x", 4096) + "\r\n")
				if mode == Slow {
					b = []byte("x")
					select {
					case <-time.After(100 * time.Millisecond):
					case <-mux.CloseChan():
						return
					}
				}
				g.did.Add(int64(len(b)))
			}
		}()
	}
}

func (g *Guest) handler(mode Mode, until <-chan struct{}) http.Handler {
	m := http.NewServeMux()
	hello := func(w http.ResponseWriter, _ *http.Request) {
		if mode == Garbage {
			g.endless(w, until, `{"bootID":"`, "\x00\xffgarbage\x1b[2J")
			return
		}
		g.send(w, wire.Hello{BootID: g.bootID(), Version: "hostile"})
	}
	m.HandleFunc("GET "+wire.PathHello, hello)
	m.HandleFunc("PUT "+wire.PathBoot, hello) // it takes no name
	m.HandleFunc("GET "+wire.PathSnapshot, func(w http.ResponseWriter, r *http.Request) { g.snapshot(w, r, mode, until) })
	m.HandleFunc("GET "+wire.PathLog, func(w http.ResponseWriter, _ *http.Request) { g.log(w, mode, until) })
	m.HandleFunc("PUT "+wire.PathPod, func(w http.ResponseWriter, r *http.Request) { g.configure(w, r, mode) })
	m.HandleFunc("GET "+wire.PathStats, func(w http.ResponseWriter, _ *http.Request) {
		if mode == Many {
			g.many(w, wire.MaxStatsBytes, `{"containers":[`, "{}")
		}
	})
	m.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // what it says does not matter
		if mode == Refusals {
			w.WriteHeader(http.StatusInternalServerError)
			g.endless(w, until, "no: ", "because \x1b]0;owned\x07 ")
		}
	})
	return m
}

// configure agrees to everything, and learns the pod's containers.
func (g *Guest) configure(w http.ResponseWriter, r *http.Request, mode Mode) {
	if mode == Many {
		g.many(w, wire.MaxBodyBytes, `{"addresses":[`, `""`)
		return
	}
	var pod wire.Pod
	if err := json.NewDecoder(r.Body).Decode(&pod); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var ready wire.Ready
	for _, i := range pod.Interfaces {
		for _, a := range i.Addresses {
			ready.Addresses = append(ready.Addresses, a.Addr())
		}
	}
	g.mu.Lock()
	g.names = nil
	for _, c := range pod.Containers {
		g.names = append(g.names, c.Name)
	}
	g.mu.Unlock()
	g.send(w, ready)
	g.plannedOne.Do(func() { close(g.planned) })
}

// log answers with what a log never is.
func (g *Guest) log(w http.ResponseWriter, mode Mode, until <-chan struct{}) {
	line := time.Now().UTC().Format(time.RFC3339Nano) + " stdout F a line\n"
	switch mode {
	case Offsets:
		at := []int64{1 << 49, 0, -1, 1 << 62, 7, 1 << 20}[g.did.Add(1)%6]
		w.Header().Set(wire.HeaderLogOffset, strconv.FormatInt(at, 10))
		_, _ = io.WriteString(w, line) // the host may have left
	case Logs:
		g.endless(w, until, "", line)
	case Lines:
		g.endless(w, until, line[:len(line)-1], strings.Repeat("x", 1024))
	default:
		g.did.Add(1)
		_, _ = io.WriteString(w, line) // the host may have left
	}
}

// endless writes begin and then more, for as long as the mode lasts and the host takes it.
func (g *Guest) endless(w io.Writer, until <-chan struct{}, begin, more string) {
	b := []byte(begin)
	for {
		select {
		case <-until:
			return
		default:
		}
		n, err := w.Write(b)
		g.did.Add(int64(n))
		if err != nil {
			return
		}
		b = []byte(strings.Repeat(more, 1+4096/len(more)))
	}
}

func (g *Guest) send(w http.ResponseWriter, v any) {
	if b, err := json.Marshal(v); err == nil {
		_, _ = w.Write(b) // the host may have left
	}
}
