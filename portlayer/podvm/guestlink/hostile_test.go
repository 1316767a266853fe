package guestlink_test

import (
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"net"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/portlayer/podvm/guestlink"
	"github.com/virtual-kubelet/vic/portlayer/podvm/podvmtest/hostile"
	"github.com/virtual-kubelet/vic/portlayer/podvm/rundir"
)

const (
	harmTime  = 700 * time.Millisecond // how long each mode lasts; the links break a silent channel after half of it
	harmHeap  = 48 << 20
	harmMade  = 64 << 20 // garbage of a guest whose answers are small and make much
	harmDisk  = 3 << 20
	logBytes  = 256 << 10
	logsKept  = 2
	harmFiles = 40
)

// foe is a guest that means harm, on pipes.
type foe struct {
	mode hostile.Mode

	mu     sync.Mutex // guards guests
	guests []*hostile.Guest
}

func (f *foe) dial(context.Context) (io.ReadWriteCloser, error) {
	host, port := net.Pipe()
	g := hostile.New(port, "boot")
	g.Become(f.mode)
	go func() { _ = g.Serve() }() // ends when the host closes its end
	f.mu.Lock()
	defer f.mu.Unlock()
	f.guests = append(f.guests, g)
	return host, nil
}

func (f *foe) sessions() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.guests)
}

// end stops what the guest does on all its pipes, and reports whether it did anything.
func (f *foe) end() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	var did int64
	for _, g := range f.guests {
		did += g.Become(hostile.Honest)
	}
	return did > 0
}

// told is what the link hands on. Each snapshot is one write of the run directory, and at most one of the pod's status.
type told struct {
	t              *testing.T
	count, largest int
}

func (s *told) take(snapshot *wire.Snapshot) {
	s.count++
	b, err := json.Marshal(snapshot)
	if err != nil {
		s.t.Error(err)
	}
	s.largest = max(s.largest, len(b))
	assert.LessOrEqual(s.t, len(snapshot.Events), wire.MaxEvents)
	assert.NotContains(s.t, string(b), `\u000`, "control characters")
}

func TestARestlessGuestIsAskedOnceASecond(t *testing.T) {
	store, err := rundir.Open(rundir.Config{Root: t.TempDir()})
	require.NoError(t, err)
	logs, err := store.Dir(uid)
	require.NoError(t, err)
	const atOnce, more = 20, 3
	f, came, begin := &foe{mode: hostile.Restless}, make(chan time.Time, 100), time.Now()
	l := guestlink.Open(t.Context(), guestlink.Config{
		Dial: f.dial, Logs: logs, OnChange: func() {},
		Expect:     func() guestlink.Expect { return guestlink.Expect{Containers: []string{"app"}} },
		OnSnapshot: func(*wire.Snapshot) { came <- time.Now() },
	})
	var last time.Time
	for range atOnce + more {
		last = <-came
	}
	l.Close()
	f.end()
	assert.GreaterOrEqual(t, last.Sub(begin), more*time.Second)
}

func TestAHostileGuestGetsNoMoreThanItsShare(t *testing.T) {
	for _, mode := range hostile.Modes() {
		if mode == hostile.Console { // it is no matter of the channel
			continue
		}
		t.Run(string(mode), func(t *testing.T) {
			root := t.TempDir()
			store, err := rundir.Open(rundir.Config{Root: root, SegmentBytes: logBytes, Segments: logsKept})
			require.NoError(t, err)
			logs, err := store.Dir(uid)
			require.NoError(t, err)
			f, seen := &foe{mode: mode}, &told{t: t}
			goroutines, heap, made := runtime.NumGoroutine(), heapNow(), madeNow()
			l := guestlink.Open(t.Context(), guestlink.Config{
				Dial: f.dial, Logs: logs, Patience: harmTime / 3, OnChange: func() {},
				Expect:     func() guestlink.Expect { return guestlink.Expect{Containers: []string{"app"}} },
				OnSnapshot: seen.take,
			})
			peak := harm(t, l)
			assert.Less(t, peak-heap, int64(harmHeap), "memory")
			l.Close()
			made = madeNow() - made
			t.Logf("memory at most +%d MiB, %d MiB made in %d sessions; %d snapshots to write, the largest of %d KiB",
				(peak-heap)>>20, made>>20, f.sessions(), seen.count, seen.largest>>10)
			assert.LessOrEqual(t, seen.largest, wire.MaxSnapshotBytes)
			if mode == hostile.Many {
				assert.Less(t, made, int64(harmMade), "garbage")
			}
			assert.True(t, f.end(), "nothing was done to the host")
			bytes, files := onDisk(t, root)
			assert.Less(t, bytes, int64(harmDisk), "disk")
			assert.Less(t, files, harmFiles, "files")
			require.Eventually(t, func() bool { return runtime.NumGoroutine() <= goroutines+2 }, time.Minute, 10*time.Millisecond,
				"everything ends with the link")
		})
	}
}

// harm lets the guest do what it does while calls are made, and returns the most memory that there was.
func harm(t *testing.T, l *guestlink.Link) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harmTime)
	defer cancel()
	var calls sync.WaitGroup
	calls.Go(func() { // ends with ctx
		_, _ = l.Configure(ctx, wire.Pod{})
		_, _ = l.Stats(ctx)
		for ctx.Err() == nil {
			_ = l.Stop(ctx, wire.Stop{})
			_, _ = l.Exec(ctx, "app", wire.Exec{Args: []string{"true"}}, guestlink.Streams{})
		}
	})
	defer calls.Wait()
	tick := time.NewTicker(harmTime / 20)
	defer tick.Stop()
	var peak int64
	for {
		select {
		case <-tick.C:
			peak = max(peak, heapNow())
		case <-ctx.Done():
			return peak
		}
	}
}

// heapNow is what is in use, garbage not counted.
func heapNow() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// madeNow is all that was ever allocated.
func madeNow() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.TotalAlloc)
}

func onDisk(t *testing.T, root string) (bytes int64, files int) {
	t.Helper()
	err := filepath.WalkDir(root, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			bytes += info.Size()
			files++
		}
		return err
	})
	require.NoError(t, err)
	return bytes, files
}
