package channel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	findInterval = 5 * time.Millisecond
	absenceMin   = 10 * time.Millisecond
	absenceMax   = 200 * time.Millisecond
)

// Port is a virtio-serial port. Reads wait while no host is connected; writes fail then.
type Port struct {
	f    *os.File
	done <-chan struct{} // ends Read
}

// OpenPort waits for the port of that name. sys is where sysfs is mounted, dev where device nodes are. Reads fail when ctx
// ends.
func OpenPort(ctx context.Context, sys, dev, name string) (*Port, error) {
	tick := time.NewTicker(findInterval)
	defer tick.Stop()
	for {
		if device, ok := findPort(sys, dev, name); ok {
			f, err := os.OpenFile(device, os.O_RDWR, 0)
			if err == nil {
				return &Port{f: f, done: ctx.Done()}, nil
			}
			if !errors.Is(err, os.ErrNotExist) { // its node comes after its name
				return nil, fmt.Errorf("open port %s: %w", name, err)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("find port %s: %w", name, ctx.Err())
		}
	}
}

func findPort(sys, dev, name string) (string, bool) {
	files, err := filepath.Glob(filepath.Join(sys, "class/virtio-ports/*/name"))
	if err != nil {
		return "", false
	}
	for _, file := range files {
		if b, err := os.ReadFile(file); err == nil && strings.TrimSpace(string(b)) == name {
			return filepath.Join(dev, filepath.Base(filepath.Dir(file))), true
		}
	}
	return "", false
}

// Read reads what a host sends. The kernel answers with an end of file while no host is connected; Read waits then, and
// lets writes fail, since what they write belongs to a connection that is over.
func (p *Port) Read(b []byte) (int, error) {
	wait := absenceMin
	for {
		n, err := p.f.Read(b)
		if n > 0 {
			return n, p.setWriteDeadline(time.Time{})
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if err := p.setWriteDeadline(time.Now()); err != nil {
			return 0, err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-p.done:
			timer.Stop()
			return 0, os.ErrClosed
		}
		wait = min(2*wait, absenceMax)
	}
}

// setWriteDeadline does nothing for a file whose writes never wait.
func (p *Port) setWriteDeadline(t time.Time) error {
	if err := p.f.SetWriteDeadline(t); err != nil && !errors.Is(err, os.ErrNoDeadline) {
		return err
	}
	return nil
}

// Write writes to the host.
func (p *Port) Write(b []byte) (int, error) { return p.f.Write(b) }

// Close closes the port.
func (p *Port) Close() error { return p.f.Close() }
