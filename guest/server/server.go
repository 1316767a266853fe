package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/virtual-kubelet/vic/guest/crun"
	"github.com/virtual-kubelet/vic/guest/logfile"
	"github.com/virtual-kubelet/vic/guest/supervisor"
	"github.com/virtual-kubelet/vic/guest/volume"
	"github.com/virtual-kubelet/vic/guest/wire"
)

// System is what the server needs of the VM that it runs in.
type System interface {
	Hello() (wire.Hello, error)
	Configure(ctx context.Context, pod wire.Pod) (wire.Ready, error)
	PutFiles(f wire.Files) error
	SetClock(t time.Time) error
	// PowerOff begins to turn the VM off and returns.
	PowerOff(ctx context.Context)
}

// Containers runs the pod's containers.
type Containers interface {
	Run(ctx context.Context, c wire.Container) error
	Stop(s wire.Stop)
	Snapshot(ctx context.Context, q supervisor.Query) ([]byte, error)
	// NameBoot names this boot, unless it has a name to keep.
	NameBoot(id string) string
}

// Streams has what containers read and write. It answers crun.ErrNotRunning before a pod is configured.
type Streams interface {
	Running(container string) error
	Exec(ctx context.Context, container string, e wire.Exec, stdout, stderr io.Writer) (Session, error)
	Attach(container string, a wire.Attach, stdout, stderr io.Writer) (Session, error)
	Log(container string, attempt int32) (*logfile.File, error)
}

// Usage returns what the pod uses.
type Usage interface {
	Stats() (wire.Stats, error)
}

// Session is a process that a host drives. A process that has ended takes all input and ends waiting writes.
type Session interface {
	io.Writer // to the process's input
	EndInput()
	Resize(size wire.TerminalSize) error
	// Exit is how the process ended. It blocks until it has and its output was passed on.
	Exit() wire.Exit
	// Close says that the host has gone.
	Close()
}

// Config is what a handler answers from.
type Config struct {
	System     System
	Containers Containers
	Streams    Streams
	Usage      Usage
}

type server struct{ Config }

// New returns the handler of all paths.
func New(c Config) http.Handler {
	s := &server{c}
	mux := http.NewServeMux()
	for pattern, h := range map[string]func(http.ResponseWriter, *http.Request) error{
		"GET " + wire.PathHello:     s.hello,
		"PUT " + wire.PathBoot:      s.boot,
		"PUT " + wire.PathPod:       s.pod,
		"PUT " + wire.PathFiles:     s.files,
		"PUT " + wire.PathContainer: s.container,
		"POST " + wire.PathExec:     s.exec,
		"POST " + wire.PathAttach:   s.attach,
		"GET " + wire.PathLog:       s.log,
		"DELETE " + wire.PathLog:    s.freeLog,
		"GET " + wire.PathSnapshot:  s.snapshot,
		"GET " + wire.PathStats:     s.stats,
		"POST " + wire.PathStop:     s.stop,
		"POST " + wire.PathPowerOff: s.powerOff,
		"PUT " + wire.PathClock:     s.clock,
		"POST " + wire.PathDial:     s.dial,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := h(w, r); err != nil {
				http.Error(w, err.Error(), statusOf(err))
			}
		})
	}
	return mux
}

var (
	// errInvalid says that a call is not valid.
	errInvalid = errors.New("call is not valid")
	// errConnect says that nobody takes connections at a port; users know the words from other nodes.
	errConnect = errors.New("failed to connect")
)

func statusOf(err error) int {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return http.StatusRequestEntityTooLarge
	}
	for _, kind := range []struct {
		err    error
		status int
	}{
		{errInvalid, http.StatusBadRequest},
		{supervisor.ErrInvalid, http.StatusBadRequest},
		{volume.ErrInvalid, http.StatusBadRequest},
		{supervisor.ErrNotFound, http.StatusNotFound},
		{volume.ErrNotFound, http.StatusNotFound},
		{logfile.ErrNotFound, http.StatusNotFound},
		{supervisor.ErrConflict, http.StatusConflict},
		{crun.ErrNotRunning, http.StatusConflict},
		{logfile.ErrBeyondEnd, http.StatusRequestedRangeNotSatisfiable},
		{crun.ErrBusy, http.StatusTooManyRequests},
		{errConnect, http.StatusBadGateway},
	} {
		if errors.Is(err, kind.err) {
			return kind.status
		}
	}
	return http.StatusInternalServerError
}

// read decodes the call's body into a T.
func read[T any](w http.ResponseWriter, r *http.Request) (T, error) {
	var v T
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, wire.MaxBodyBytes))
	if err := d.Decode(&v); err != nil {
		return v, fmt.Errorf("%w: %w", errInvalid, err)
	}
	return v, nil
}

func answer(w http.ResponseWriter, v any) error {
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(v)
}

// number reads a query parameter; a missing one is 0.
func number(r *http.Request, name string) (uint64, error) {
	s := r.URL.Query().Get(name)
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, fmt.Errorf("%w: %s is %q", errInvalid, name, s)
	}
	return n, nil
}

var bootForm = regexp.MustCompile(`^[0-9A-Za-z-]{1,64}$`)

func (s *server) boot(w http.ResponseWriter, r *http.Request) error {
	b, err := read[wire.BootName](w, r)
	if err != nil {
		return err
	}
	if !bootForm.MatchString(b.ID) {
		return fmt.Errorf("%w: boot id %q", errInvalid, b.ID)
	}
	s.Containers.NameBoot(b.ID)
	return s.hello(w, r)
}

func (s *server) hello(w http.ResponseWriter, _ *http.Request) error {
	h, err := s.System.Hello()
	if err != nil {
		return err
	}
	return answer(w, h)
}

func (s *server) pod(w http.ResponseWriter, r *http.Request) error {
	pod, err := read[wire.Pod](w, r)
	if err != nil {
		return err
	}
	ready, err := s.System.Configure(r.Context(), pod)
	if err != nil {
		return err
	}
	return answer(w, ready)
}

func (s *server) files(w http.ResponseWriter, r *http.Request) error {
	f, err := read[wire.Files](w, r)
	if err != nil {
		return err
	}
	return s.System.PutFiles(f)
}

func (s *server) container(w http.ResponseWriter, r *http.Request) error {
	c, err := read[wire.Container](w, r)
	if err != nil {
		return err
	}
	if name := r.PathValue("container"); name != c.Name {
		return fmt.Errorf("%w: container %q under the name %q", errInvalid, c.Name, name)
	}
	return s.Containers.Run(r.Context(), c)
}

func (s *server) stats(w http.ResponseWriter, _ *http.Request) error {
	stats, err := s.Usage.Stats()
	if err != nil {
		return err
	}
	return answer(w, stats)
}

func (s *server) stop(w http.ResponseWriter, r *http.Request) error {
	stop, err := read[wire.Stop](w, r)
	if err != nil {
		return err
	}
	s.Containers.Stop(stop)
	return nil
}

func (s *server) powerOff(w http.ResponseWriter, r *http.Request) error {
	w.WriteHeader(http.StatusAccepted)
	// The answer leaves before the VM does.
	if err := http.NewResponseController(w).Flush(); err != nil {
		return err
	}
	s.System.PowerOff(context.WithoutCancel(r.Context()))
	return nil
}

func (s *server) clock(w http.ResponseWriter, r *http.Request) error {
	c, err := read[wire.Clock](w, r)
	if err != nil {
		return err
	}
	return s.System.SetClock(c.Time)
}

func (s *server) snapshot(w http.ResponseWriter, r *http.Request) error {
	after, err := number(r, "after")
	if err != nil {
		return err
	}
	ack, err := number(r, "ack")
	if err != nil {
		return err
	}
	q := supervisor.Query{BootID: r.URL.Query().Get("boot"), After: after, Ack: ack}
	b, err := s.Containers.Snapshot(r.Context(), q)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, err = w.Write(b)
	return err
}
