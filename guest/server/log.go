package server

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/virtual-kubelet/vic/guest/logfile"
	"github.com/virtual-kubelet/vic/guest/wire"
)

// log answers with a log from an offset on, until its attempt has ended. The header wire.HeaderLogOffset says where the
// answer begins: behind the offset where that part was dropped. Where lines are dropped while they are sent, the
// connection ends without the end of the answer, and the host asks again from where it is.
func (s *server) log(w http.ResponseWriter, r *http.Request) error {
	f, offset, err := s.findLog(r)
	if err != nil {
		return err
	}
	from, err := f.From(int64(offset))
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set(wire.HeaderLogOffset, strconv.FormatInt(from, 10))
	w.WriteHeader(http.StatusOK)
	out := flusher{w, http.NewResponseController(w)}
	if err := out.control.Flush(); err != nil {
		panic(http.ErrAbortHandler)
	}
	if err := f.Follow(r.Context(), from, out); err != nil {
		panic(http.ErrAbortHandler) // the one way to end an answer that has begun
	}
	return nil
}

// flusher sends each write at once.
type flusher struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func (f flusher) Write(b []byte) (int, error) {
	n, err := f.w.Write(b)
	if err != nil {
		return n, err
	}
	return n, f.control.Flush()
}

// freeLog gives back what the host has copied.
func (s *server) freeLog(_ http.ResponseWriter, r *http.Request) error {
	f, offset, err := s.findLog(r)
	if err != nil {
		return err
	}
	return f.Free(int64(offset))
}

func (s *server) findLog(r *http.Request) (*logfile.File, uint64, error) {
	attempt, err := strconv.ParseInt(r.PathValue("attempt"), 10, 32)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: attempt is %q", errInvalid, r.PathValue("attempt"))
	}
	offset, err := number(r, "offset")
	if err != nil {
		return nil, 0, err
	}
	f, err := s.Streams.Log(r.PathValue("container"), int32(attempt))
	return f, offset, err
}
