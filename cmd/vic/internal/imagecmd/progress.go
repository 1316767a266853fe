package imagecmd

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/virtual-kubelet/vic/persona"
)

const (
	// terminalInterval is the least time between two looks of a line that is written over.
	terminalInterval = 100 * time.Millisecond
	// plainInterval is that between two lines, which stay.
	plainInterval = 5 * time.Second
	// clearLine goes to the line's beginning and erases it (ECMA-48, EL).
	clearLine = "\r\x1b[K"
)

// pullProgress shows how far a pull is: on a terminal in one line, elsewhere in a line now and then.
type pullProgress struct {
	w        io.Writer
	terminal bool
	next     time.Time // before it nothing is shown
	last     string    // what was shown last
}

func newPullProgress(w io.Writer) *pullProgress {
	f, ok := w.(*os.File)
	return &pullProgress{w: w, terminal: ok && term.IsTerminal(int(f.Fd()))}
}

// show is for persona.PullOptions. What can't be written is of no use, and the pull goes on.
func (p *pullProgress) show(now persona.Progress) {
	if time.Now().Before(p.next) && now.Bytes < now.TotalBytes {
		return
	}
	line := fmt.Sprintf("layer %d of %d, %s of %s (%d %%)", now.Layer, now.Layers,
		mebibytes(now.Bytes), mebibytes(now.TotalBytes), now.Bytes*100/max(1, now.TotalBytes))
	if line == p.last {
		return
	}
	p.last = line
	if p.terminal {
		_, _ = fmt.Fprint(p.w, clearLine+line)
		p.next = time.Now().Add(terminalInterval)
		return
	}
	_, _ = fmt.Fprintln(p.w, line)
	p.next = time.Now().Add(plainInterval)
}

// close takes the line away, so that what follows stands alone.
func (p *pullProgress) close() {
	if p.terminal && p.last != "" {
		_, _ = fmt.Fprint(p.w, clearLine)
	}
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
