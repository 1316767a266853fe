package mempods

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
	"github.com/virtual-kubelet/vic/portlayer/portlayertest/fakeguest"
)

// Logs implements podvm.Streams. The reader ends with the log of the attempt, with its boot or with ctx.
func (h *Host) Logs(ctx context.Context, id, container string, opts podvm.LogOptions) (io.ReadCloser, error) {
	l, err := h.findLog(id, container, opts)
	if err != nil {
		return nil, fmt.Errorf("log of container %s in pod VM %s: %w", container, id, err)
	}
	r, w := io.Pipe()
	l.to, l.opts = w, opts
	ctx, cancel := context.WithCancel(ctx)
	// Ends with the log, with ctx, or when the reader is closed.
	go func() {
		defer cancel()
		l.copy(ctx)
		_ = w.Close() // a pipe's Close never fails
	}()
	return &logReader{PipeReader: r, cancel: cancel}, nil
}

// logReader ends its writer when it is closed.
type logReader struct {
	*io.PipeReader
	cancel context.CancelFunc
}

// Close implements io.Closer.
func (r *logReader) Close() error {
	r.cancel()
	return r.PipeReader.Close()
}

// attemptLog is the log of one attempt on its way to a reader.
type attemptLog struct {
	boot      *fakeguest.Guest
	container string
	attempt   int32

	to   io.Writer
	opts podvm.LogOptions
	sent int64
}

// findLog finds the attempt that opts means, in whatever boot it was. portlayer.ErrNotFound.
func (h *Host) findLog(id, container string, opts podvm.LogOptions) (*attemptLog, error) {
	p, err := h.store.podOf(id)
	if err != nil {
		return nil, err
	}
	guest := p.view().Guest
	if guest == nil {
		return nil, portlayer.ErrNotFound
	}
	status, _ := guest.Container(container)
	attempt, ran := attemptOf(status, opts)
	for i := len(p.boots) - 1; i >= 0 && ran; i-- {
		if _, ok := p.boots[i].ReadLog(container, attempt, 0); ok {
			return &attemptLog{boot: p.boots[i], container: container, attempt: attempt}, nil
		}
	}
	return nil, portlayer.ErrNotFound
}

// attemptOf returns the attempt that opts means; false where there is none.
func attemptOf(c wire.ContainerStatus, opts podvm.LogOptions) (int32, bool) {
	switch {
	case opts.Attempt != nil:
		return *opts.Attempt, true
	case c.State == wire.ContainerRunning && !opts.Previous:
		return c.RestartCount, true
	case c.Current != nil && !opts.Previous:
		return c.Current.Attempt, true
	case c.Last != nil: // the one before, or the latest of a container that waits for its next start
		return c.Last.Attempt, true
	}
	return 0, false
}

// copy writes what opts asks for until there is no more of it, or nobody wants it.
func (l *attemptLog) copy(ctx context.Context) {
	part, _ := l.boot.ReadLog(l.container, l.attempt, 0) // what was there once stays
	for lines := l.first(part.Lines); l.write(lines) && l.opts.Follow && !part.Ended; lines = split(part.Lines) {
		over := false
		select {
		case <-part.Changed:
		case <-l.boot.Ended():
			over = true
		case <-ctx.Done():
			return
		}
		part, _ = l.boot.ReadLog(l.container, l.attempt, part.Next()) // the same
		part.Ended = part.Ended || over
	}
}

// first are the lines that are there already and wanted.
func (l *attemptLog) first(b []byte) [][]byte {
	lines := split(b)
	switch {
	case l.opts.OnlyNew:
		return nil
	case l.opts.Tail > 0:
		return lines[max(0, len(lines)-l.opts.Tail):]
	}
	return lines
}

// split returns whole lines of a log, each with its end.
func split(b []byte) [][]byte {
	lines := bytes.SplitAfter(b, []byte{'\n'})
	return lines[:len(lines)-1]
}

// write writes lines of a CRI log as the reader wants them, and returns false when it wants no more.
func (l *attemptLog) write(lines [][]byte) bool {
	for _, line := range lines {
		fields := bytes.SplitN(line, []byte{' '}, 4) // time, stream, tag, text
		stamp, text := fields[0], fields[3]
		at, err := time.Parse(time.RFC3339Nano, string(stamp))
		if err == nil && at.Before(l.opts.Since) {
			continue
		}
		if l.opts.Timestamps {
			text = bytes.Join([][]byte{stamp, text}, []byte{' '})
		}
		limit := l.opts.LimitBytes
		if limit > 0 {
			text = text[:min(int64(len(text)), limit-l.sent)]
		}
		n, err := l.to.Write(text)
		l.sent += int64(n)
		if err != nil || limit > 0 && l.sent == limit {
			return false
		}
	}
	return true
}
