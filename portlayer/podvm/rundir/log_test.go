package rundir_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/portlayer/podvm/rundir"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// cri returns a line that was written so many seconds after epoch.
func cri(second int, stream, tag, text string) string {
	return fmt.Sprintf("%s %s %s %s\n", epoch.Add(time.Duration(second)*time.Second).Format(time.RFC3339Nano), stream, tag, text)
}

// numbered returns count lines, and their text.
func numbered(count int) (raw, text string) {
	var r, s strings.Builder
	for i := range count {
		r.WriteString(cri(i, "stdout", "F", fmt.Sprintf("line %d", i)))
		fmt.Fprintf(&s, "line %d\n", i)
	}
	return r.String(), s.String()
}

func read(t *testing.T, d *rundir.Dir, opts rundir.ReadOptions) string {
	t.Helper()
	r, err := d.ReadLog(t.Context(), "app", 0, opts)
	require.NoError(t, err)
	b, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	return string(b)
}

func TestACopyGoesOnWhereItWasTorn(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	raw, text := numbered(500)
	root := t.TempDir()
	d := open(t, rundir.Config{Root: root})
	for {
		at := d.LogEnd("app", 0)
		if at == int64(len(raw)) {
			break
		}
		// What is sent again overlaps, and each chunk may be the last of its process.
		from := max(at-random.Int64N(50), 0)
		to := min(at+random.Int64N(400), int64(len(raw)))
		require.NoError(t, d.AppendLog("app", 0, from, []byte(raw[from:to])))
		if random.IntN(5) == 0 {
			d = open(t, rundir.Config{Root: root})
		}
	}
	require.Equal(t, text, read(t, d, rundir.ReadOptions{}))
}

func TestAFullSegmentIsFollowedByAnother(t *testing.T) {
	const segment = 1000
	raw, text := numbered(200)
	root := t.TempDir()
	d := open(t, rundir.Config{Root: root, SegmentBytes: segment, Segments: 3})
	for at := 0; at < len(raw); at += 700 {
		require.NoError(t, d.AppendLog("app", 0, int64(at), []byte(raw[at:min(at+700, len(raw))])))
	}
	require.Equal(t, int64(len(raw)), d.LogEnd("app", 0))
	files, err := os.ReadDir(filepath.Join(root, uid, "logs", "app"))
	require.NoError(t, err)
	require.Len(t, files, 3)
	for _, f := range files {
		info, err := f.Info()
		require.NoError(t, err)
		require.LessOrEqual(t, info.Size(), int64(segment))
	}
	for _, d := range []*rundir.Dir{d, open(t, rundir.Config{Root: root, SegmentBytes: segment, Segments: 3})} {
		got := read(t, d, rundir.ReadOptions{})
		require.True(t, strings.HasSuffix(text, got))
		require.True(t, strings.HasPrefix(got, "line "))
		require.Greater(t, len(got), segment/8)
		require.Equal(t, int64(len(raw)), d.LogEnd("app", 0))
	}
}

func TestAFollowerSeesEachLineOnceOverRotations(t *testing.T) {
	raw, text := numbered(2000)
	d := open(t, rundir.Config{Root: t.TempDir(), SegmentBytes: 4096, Segments: 2})
	d.SetLive(true)
	r, err := d.ReadLog(t.Context(), "app", 0, rundir.ReadOptions{Follow: true})
	require.NoError(t, err)
	var lines atomic.Int64
	got := make(chan string, 1)
	// Ends with the log.
	go func() {
		var b strings.Builder
		for scan := bufio.NewScanner(r); scan.Scan(); lines.Add(1) {
			b.WriteString(scan.Text() + "\n")
		}
		got <- b.String()
	}()
	written := int64(0)
	for at := 0; at < len(raw); at += 333 {
		chunk := raw[at:min(at+333, len(raw))]
		require.NoError(t, d.AppendLog("app", 0, int64(at), []byte(chunk)))
		written += int64(strings.Count(chunk, "\n"))
		// A follower may be less than a segment behind.
		require.Eventually(t, func() bool { return written-lines.Load() < 60 }, time.Minute, time.Millisecond)
	}
	d.FinishLog("app", 0)
	require.Equal(t, text, <-got)
}

func TestAFollowerLearnsWhatItMissed(t *testing.T) {
	raw, text := numbered(300)
	d := open(t, rundir.Config{Root: t.TempDir(), SegmentBytes: 500})
	d.SetLive(true)
	require.NoError(t, d.AppendLog("app", 0, 0, []byte(raw[:100])))
	r, err := d.ReadLog(t.Context(), "app", 0, rundir.ReadOptions{Follow: true})
	require.NoError(t, err)
	one := make([]byte, 1)
	_, err = io.ReadFull(r, one)
	require.NoError(t, err)
	require.NoError(t, d.AppendLog("app", 0, 100, []byte(raw[100:])))
	d.FinishLog("app", 0)
	rest, err := io.ReadAll(r)
	require.NoError(t, err)
	got := string(one) + string(rest)
	before, after, ok := strings.Cut(got, "[")
	require.True(t, ok, got)
	_, after, ok = strings.Cut(after, " bytes of this log were dropped]\n")
	require.True(t, ok, got)
	assert.True(t, strings.HasPrefix(text, before))
	assert.True(t, strings.HasSuffix(text, after))
}

func TestFollowEnds(t *testing.T) {
	tests := map[string]func(s *rundir.Store, d *rundir.Dir, cancel func(), r io.Closer){
		"when the attempt is finished":     func(_ *rundir.Store, d *rundir.Dir, _ func(), _ io.Closer) { d.FinishLog("app", 0) },
		"when the VM stops":                func(_ *rundir.Store, d *rundir.Dir, _ func(), _ io.Closer) { d.SetLive(false) },
		"when the run directory is gone":   func(s *rundir.Store, _ *rundir.Dir, _ func(), _ io.Closer) { _ = s.Remove(uid) },
		"when its context ends":            func(_ *rundir.Store, _ *rundir.Dir, cancel func(), _ io.Closer) { cancel() },
		"when it is closed by another one": func(_ *rundir.Store, _ *rundir.Dir, _ func(), r io.Closer) { _ = r.Close() },
	}
	for name, end := range tests {
		t.Run(name, func(t *testing.T) {
			s, err := rundir.Open(rundir.Config{Root: t.TempDir()})
			require.NoError(t, err)
			d, err := s.Dir(uid)
			require.NoError(t, err)
			d.SetLive(true)
			require.NoError(t, d.AppendLog("app", 0, 0, []byte(cri(0, "stdout", "F", "one"))))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r, err := d.ReadLog(ctx, "app", 0, rundir.ReadOptions{Follow: true})
			require.NoError(t, err)
			b := make([]byte, 4)
			_, err = io.ReadFull(r, b)
			require.NoError(t, err)
			require.Equal(t, "one\n", string(b))
			rest := make(chan []byte, 1)
			// Ends with the follow.
			go func() {
				b, _ := io.ReadAll(r)
				rest <- b
			}()
			end(s, d, cancel, r)
			require.Empty(t, <-rest)
		})
	}
}

func TestReadOptions(t *testing.T) {
	raw := cri(0, "stdout", "F", "zero") +
		cri(1, "stdout", "P", "part one, ") + cri(2, "stderr", "F", "error") + cri(3, "stdout", "F", "part two") +
		cri(4, "stdout", "F", "") + cri(5, "stdout", "F", "last")
	stamp := func(second int) string {
		return epoch.Add(time.Duration(second)*time.Second).Format(time.RFC3339Nano) + " "
	}
	tests := map[string]struct {
		opts rundir.ReadOptions
		want string
	}{
		"all lines, parts joined":             {rundir.ReadOptions{}, "zero\npart one, error\npart two\n\nlast\n"},
		"a tail counts whole lines":           {rundir.ReadOptions{Tail: 2}, "\nlast\n"},
		"a tail longer than the log is all":   {rundir.ReadOptions{Tail: 99}, "zero\npart one, error\npart two\n\nlast\n"},
		"since leaves older lines out":        {rundir.ReadOptions{Since: epoch.Add(4 * time.Second)}, "\nlast\n"},
		"a limit cuts in the middle of lines": {rundir.ReadOptions{LimitBytes: 6}, "zero\np"},
		"timestamps once a whole line": {
			rundir.ReadOptions{Timestamps: true},
			stamp(0) + "zero\n" + stamp(1) + "part one, " + stamp(2) + "error\npart two\n" + stamp(4) + "\n" + stamp(5) + "last\n",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d := open(t, rundir.Config{Root: t.TempDir()})
			require.NoError(t, d.AppendLog("app", 0, 0, []byte(raw)))
			require.Equal(t, tt.want, read(t, d, tt.opts))
		})
	}
}

func TestATailCountsALineWithoutEnd(t *testing.T) {
	raw := cri(0, "stdout", "F", "one") + cri(1, "stdout", "P", "two ") + cri(2, "stdout", "F", "parts") + cri(3, "stdout", "P", "more ") + cri(4, "stdout", "P", "to come")
	for _, segment := range []int64{1, 50, 1000} {
		d := open(t, rundir.Config{Root: t.TempDir(), SegmentBytes: segment, Segments: 9})
		require.NoError(t, d.AppendLog("app", 0, 0, []byte(raw)))
		assert.Equal(t, "more to come", read(t, d, rundir.ReadOptions{Tail: 1}))
		assert.Equal(t, "two parts\nmore to come", read(t, d, rundir.ReadOptions{Tail: 2}))
		assert.Equal(t, "one\ntwo parts\nmore to come", read(t, d, rundir.ReadOptions{Tail: 3}))
	}
}

func TestATailReachesOverSegments(t *testing.T) {
	raw, text := numbered(50)
	d := open(t, rundir.Config{Root: t.TempDir(), SegmentBytes: int64(len(raw)) * 2 / 3})
	require.NoError(t, d.AppendLog("app", 0, 0, []byte(raw)))
	lines := strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
	for n := 1; n <= len(lines); n++ {
		want := strings.Join(lines[len(lines)-n:], "") + "\n"
		require.Equal(t, want, read(t, d, rundir.ReadOptions{Tail: n}), "tail %d", n)
	}
}

func TestOnlyNewLines(t *testing.T) {
	whole := cri(0, "stdout", "F", "old") + cri(1, "stdout", "F", "older no more")
	torn := cri(2, "stdout", "F", "comes in two pieces")
	tests := map[string]struct{ before, after, want string }{
		"none is there yet":          {"", cri(3, "stdout", "F", "new"), "new\n"},
		"those that are there":       {whole, cri(3, "stdout", "F", "new"), "new\n"},
		"a line that is copied half": {whole + torn[:40], torn[40:] + cri(3, "stdout", "F", "new"), "comes in two pieces\nnew\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d := open(t, rundir.Config{Root: t.TempDir(), SegmentBytes: 64})
			require.NoError(t, d.AppendLog("app", 0, 0, []byte(tt.before)))
			d.SetLive(true)
			r, err := d.ReadLog(t.Context(), "app", 0, rundir.ReadOptions{OnlyNew: true, Follow: true})
			require.NoError(t, err)
			defer func() { _ = r.Close() }() // only read from
			assert.Empty(t, read(t, d, rundir.ReadOptions{OnlyNew: true}), "nobody waits")
			require.NoError(t, d.AppendLog("app", 0, int64(len(tt.before)), []byte(tt.after)))
			d.FinishLog("app", 0)
			b, err := io.ReadAll(r)
			require.NoError(t, err)
			assert.Equal(t, tt.want, string(b))
		})
	}
}

func TestALineThatIsNotFinished(t *testing.T) {
	raw := cri(0, "stdout", "F", "whole") + strings.TrimSuffix(cri(1, "stdout", "F", "torn"), "rn\n")
	d := open(t, rundir.Config{Root: t.TempDir()})
	require.NoError(t, d.AppendLog("app", 0, 0, []byte(raw)))
	d.SetLive(true)
	assert.Equal(t, "whole\n", read(t, d, rundir.ReadOptions{}), "the rest of it will come")
	d.SetLive(false)
	assert.Equal(t, "whole\nto\n", read(t, d, rundir.ReadOptions{}), "nothing more will come")
}

func TestALineThatBrokeOffBeforeItsContentIsNotShown(t *testing.T) {
	whole, torn := cri(0, "stdout", "F", "whole"), cri(1, "stdout", "F", "x")
	for n := range strings.Index(torn, "x") {
		d := open(t, rundir.Config{Root: t.TempDir()})
		require.NoError(t, d.AppendLog("app", 0, 0, []byte(whole+torn[:n])))
		assert.Equal(t, "whole\n", read(t, d, rundir.ReadOptions{}), "%q", torn[:n])
	}
}

func TestADroppedPartOfALogLeavesALine(t *testing.T) {
	first, second := cri(0, "stdout", "F", "first"), cri(9, "stdout", "F", "second")
	root := t.TempDir()
	d := open(t, rundir.Config{Root: root})
	require.NoError(t, d.AppendLog("app", 0, 0, []byte(first)))
	gap := int64(len(first)) + 1000
	require.NoError(t, d.AppendLog("app", 0, gap, []byte(second)))
	for _, d := range []*rundir.Dir{d, open(t, rundir.Config{Root: root})} {
		assert.Equal(t, "first\n[1000 bytes of this log were dropped]\nsecond\n", read(t, d, rundir.ReadOptions{}))
		assert.Equal(t, gap+int64(len(second)), d.LogEnd("app", 0))
	}
}

func TestAFloodIsBounded(t *testing.T) {
	const segment = 1000
	root := t.TempDir()
	d := open(t, rundir.Config{Root: root, SegmentBytes: segment})
	raw, _ := numbered(1000)
	for attempt := range int32(10) {
		require.NoError(t, d.AppendLog("app", attempt, 0, []byte(raw)))
	}
	files, err := os.ReadDir(filepath.Join(root, uid, "logs", "app"))
	require.NoError(t, err)
	assert.Len(t, files, 10, "five files of each of two attempts")
	assert.Equal(t, []int32{8, 9}, d.Attempts("app"))
	total := int64(0)
	for _, f := range files {
		info, err := f.Info()
		require.NoError(t, err)
		total += info.Size()
	}
	assert.LessOrEqual(t, total, int64(10*segment))
}

func TestOldAttemptsGo(t *testing.T) {
	d := open(t, rundir.Config{Root: t.TempDir(), Attempts: 3})
	for attempt := range int32(10) {
		require.NoError(t, d.AppendLog("app", attempt, 0, []byte(cri(0, "stdout", "F", "x"))))
	}
	require.NoError(t, d.AppendLog("other", 0, 0, []byte(cri(0, "stdout", "F", "x"))))
	assert.Equal(t, []int32{7, 8, 9}, d.Attempts("app"))
	assert.Equal(t, []int32{0}, d.Attempts("other"))
}

func TestWhatIsNoLogLineIsTextAlone(t *testing.T) {
	long := strings.Repeat("x", 200<<10)
	for _, raw := range []string{"\n", "word\n", "a b c d\n", "2026-01-02T03:04:05Z stdin F x\n", "2026-01-02T03:04:05Z stdout\n"} {
		d := open(t, rundir.Config{Root: t.TempDir()})
		require.NoError(t, d.AppendLog("app", 0, 0, []byte(raw)))
		require.Equal(t, raw, read(t, d, rundir.ReadOptions{Timestamps: true}))
	}
	d := open(t, rundir.Config{Root: t.TempDir()})
	require.NoError(t, d.AppendLog("app", 0, 0, []byte(long)))
	require.Equal(t, long, strings.ReplaceAll(read(t, d, rundir.ReadOptions{}), "\n", ""))
}

func FuzzReadLog(f *testing.F) {
	raw, _ := numbered(3)
	f.Add([]byte(raw), 1)
	f.Fuzz(func(t *testing.T, raw []byte, tail int) {
		raw = raw[:min(len(raw), 1<<10)] // a segment is a file: more of them are slow and say no more
		d := open(t, rundir.Config{Root: t.TempDir(), SegmentBytes: 64})
		require.NoError(t, d.AppendLog("app", 0, 0, raw))
		r, err := d.ReadLog(t.Context(), "app", 0, rundir.ReadOptions{Tail: tail, Timestamps: true})
		require.NoError(t, err)
		_, err = io.ReadAll(r)
		require.NoError(t, err)
		require.NoError(t, r.Close())
	})
}

func TestAnAttemptIsCopiedToItsEndAfterItsFilesWent(t *testing.T) {
	for name, live := range map[string]bool{"while it is open": true, "after it was closed": false} {
		t.Run(name, func(t *testing.T) {
			d := open(t, rundir.Config{Root: t.TempDir(), SegmentBytes: 100, Attempts: 2})
			raw, _ := numbered(20)
			require.NoError(t, d.AppendLog("app", 0, 0, []byte(raw[:len(raw)/2])))
			for attempt := range int32(3) {
				require.NoError(t, d.AppendLog("app", attempt+1, 0, []byte(raw)))
			}
			require.NotContains(t, d.Attempts("app"), int32(0))
			d.SetLive(live)
			for d.LogEnd("app", 0) < int64(len(raw)) {
				at := d.LogEnd("app", 0)
				require.NoError(t, d.AppendLog("app", 0, at, []byte(raw[at:min(at+60, int64(len(raw)))])))
			}
		})
	}
}
