package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

const (
	maxOutput = 16 << 10
	// outputGrace is how long output is read after its process has ended, where a child of it holds the pipe.
	outputGrace = time.Second
)

// ErrExit says that a program ended with another code than 0.
var ErrExit = errors.New("program failed")

// Run starts s, whose first three files are replaced, waits for its end and returns what it wrote. The process is killed
// when ctx ends. A code other than 0 is ErrExit.
func (r *Reaper) Run(ctx context.Context, s Spec) (string, error) {
	pr, pw, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer pr.Close()
	s.Files = append([]*os.File{nil, pw, pw}, s.Files[min(3, len(s.Files)):]...)
	p, err := r.Start(s)
	_ = pw.Close() // the child has its own
	if err != nil {
		return "", err
	}
	read := make(chan string, 1)
	// Ends at the pipe's end, or at the deadline set below.
	go func() {
		b, _ := io.ReadAll(io.LimitReader(pr, maxOutput)) // what was read before an error is what there is
		_, _ = io.Copy(io.Discard, pr)
		read <- string(b)
	}()
	select {
	case <-p.Done():
	case <-ctx.Done():
		_ = p.Signal(syscall.SIGKILL) // fails only when it has ended by itself
		<-p.Done()
	}
	if err := pr.SetReadDeadline(time.Now().Add(outputGrace)); err != nil {
		return "", err
	}
	out := <-read
	if code := ExitCode(p.Status()); code != 0 {
		return out, errors.Join(ctx.Err(), fmt.Errorf("%w: %s: code %d", ErrExit, s.Args[0], code))
	}
	return out, nil
}
