package flatten_test

import (
	"archive/tar"
	"fmt"
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/persona/flatten"
)

// BenchmarkAMillionEntries shows what an image of as many files as the default allows costs: time, and memory at its peak.
func BenchmarkAMillionEntries(b *testing.B) {
	const dirs, files = 1000, 1000
	var peak uint64
	for b.Loop() {
		r, w := io.Pipe()
		go func() {
			// Ends when all is written, or when the reader is closed.
			_ = w.CloseWithError(writeMany(w, dirs, files)) // always nil
		}()
		before := heap()
		stop := make(chan struct{})
		watched := make(chan uint64)
		go func() { watched <- watchHeap(stop) }() // ends with stop
		f := flatten.New(tempFile(b), flatten.Limits{})
		require.NoError(b, f.AddLayer(b.Context(), "many", r))
		require.NoError(b, f.WriteExt4(b.Context(), tempFile(b)))
		close(stop)
		peak = max(peak, <-watched-before)
	}
	b.ReportMetric(float64(peak)/(1<<20), "peak-MiB")
	b.ReportMetric(float64(peak)/(dirs*files), "peak-B/entry")
}

// watchHeap returns the most that the heap held until stop.
func watchHeap(stop <-chan struct{}) uint64 {
	var peak uint64
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		peak = max(peak, m.HeapAlloc)
		select {
		case <-stop:
			return peak
		case <-tick.C:
		}
	}
}

func writeMany(w io.Writer, dirs, files int) error {
	tw := tar.NewWriter(w)
	for d := range dirs {
		for f := range files {
			hdr := tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("usr/lib/package-%04d/some/file-%06d.js", d, f), Mode: 0o644}
			if err := tw.WriteHeader(&hdr); err != nil {
				return err
			}
		}
	}
	return tw.Close()
}
