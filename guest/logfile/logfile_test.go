package logfile_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/logfile"
	"github.com/virtual-kubelet/vic/guest/wire"
)

func open(t *testing.T, limit int64) (*logfile.File, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "0.log")
	f, err := logfile.Open(path, limit)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f, path
}

var stamp = regexp.MustCompile(`(?m)^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z `)

// read returns the whole log from offset on, without its time stamps.
func read(t *testing.T, f *logfile.File, offset int64) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, f.Follow(t.Context(), offset, &b))
	return stamp.ReplaceAllString(b.String(), "")
}

func TestLines(t *testing.T) {
	long := strings.Repeat("x", wire.MaxLogLineBytes)
	tests := map[string]struct {
		writes []string
		want   string
	}{
		"a line":                                {[]string{"one\n"}, "stdout F one\n"},
		"an empty line":                         {[]string{"\n\n"}, "stdout F \nstdout F \n"},
		"a line in pieces":                      {[]string{"o", "n", "e\ntw", "o\n"}, "stdout F one\nstdout F two\n"},
		"a last line without newline":           {[]string{"one\ntwo"}, "stdout F one\nstdout P two\n"},
		"a line of the greatest length":         {[]string{long + "\n"}, "stdout F " + long + "\n"},
		"a longer line is split":                {[]string{long + "yz\n"}, "stdout P " + long + "\nstdout F yz\n"},
		"a longer line is split over writes":    {[]string{long, "yz", "\n"}, "stdout P " + long + "\nstdout F yz\n"},
		"a carriage return belongs to the line": {[]string{"one\r\n"}, "stdout F one\r\n"},
		"nothing":                               {nil, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f, _ := open(t, wire.MaxLogBytes)
			w := f.Writer(logfile.Stdout)
			for _, s := range tt.writes {
				n, err := w.Write([]byte(s))
				require.NoError(t, err)
				require.Equal(t, len(s), n)
			}
			require.NoError(t, w.Close())
			f.End()
			require.Equal(t, tt.want, read(t, f, 0))
		})
	}
}

func TestFollowSeesWhatIsWrittenLater(t *testing.T) {
	f, _ := open(t, wire.MaxLogBytes)
	var got bytes.Buffer
	done := make(chan error, 1)
	go func() { done <- f.Follow(t.Context(), 0, &got) }()
	w := f.Writer(logfile.Stderr)
	var want strings.Builder
	for i := range 1000 {
		_, _ = fmt.Fprintf(w, "line %d\n", i)
		fmt.Fprintf(&want, "stderr F line %d\n", i)
	}
	f.End()
	require.NoError(t, <-done)
	require.Equal(t, want.String(), stamp.ReplaceAllString(got.String(), ""))
}

func TestFreedPartsTakeNoSpaceAndOffsetsStay(t *testing.T) {
	f, path := open(t, wire.MaxLogBytes)
	w := f.Writer(logfile.Stdout)
	for range 100 {
		_, _ = w.Write([]byte(strings.Repeat("x", 10_000) + "\n"))
	}
	size := f.Size()
	_, _ = w.Write([]byte("last\n"))
	before := blocks(t, path)
	require.NoError(t, f.Free(size))
	require.Less(t, blocks(t, path), before/10)

	from, err := f.From(0)
	require.NoError(t, err)
	require.Equal(t, size, from)
	f.End()
	require.Equal(t, "stdout F last\n", read(t, f, size))
	require.ErrorIs(t, f.Follow(t.Context(), 0, &bytes.Buffer{}), logfile.ErrDropped)
	_, err = f.From(f.Size() + 1)
	require.ErrorIs(t, err, logfile.ErrBeyondEnd)
}

func blocks(t *testing.T, path string) int64 {
	t.Helper()
	fi, err := os.Stat(path)
	require.NoError(t, err)
	return fi.Sys().(*syscall.Stat_t).Blocks
}

func TestTheOldestLinesAreDroppedBeyondTheLimit(t *testing.T) {
	f, _ := open(t, 10_000)
	w := f.Writer(logfile.Stdout)
	for i := range 1000 {
		_, _ = fmt.Fprintf(w, "line %d\n", i)
	}
	f.End()
	from, err := f.From(0)
	require.NoError(t, err)
	require.LessOrEqual(t, f.Size()-from, int64(10_000))
	got := read(t, f, from)
	require.True(t, strings.HasPrefix(got, "stdout F line "), "begins with a line's beginning: %.40q", got)
	require.True(t, strings.HasSuffix(got, "stdout F line 999\n"))
	require.Greater(t, strings.Count(got, "\n"), 50)
}

func TestALogOfAFormerBootIsContinued(t *testing.T) {
	tests := map[string]struct {
		free int64
		torn string
		want string
	}{
		"as it was":            {0, "", "stdout F one\nstdout F two\n"},
		"with a torn end":      {0, "2026-01-01T00:00:00Z stdo", "stdout F one\nstdout F two\n"},
		"with a freed part":    {1, "", "stdout F two\n"},
		"with all of it freed": {2, "", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "0.log")
			f, err := logfile.Open(path, wire.MaxLogBytes)
			require.NoError(t, err)
			w := f.Writer(logfile.Stdout)
			offsets := []int64{0}
			for _, line := range []string{"one", "two"} {
				_, _ = w.Write([]byte(line + "\n"))
				offsets = append(offsets, f.Size())
			}
			f.End()
			require.NoError(t, f.Free(offsets[tt.free]))
			require.NoError(t, f.Close())
			if tt.free == 1 { // what a later free in the same block leaves
				zero(t, path, offsets[1])
			}
			appendTo(t, path, tt.torn)

			f, err = logfile.Open(path, wire.MaxLogBytes)
			require.NoError(t, err)
			defer f.Close()
			require.Equal(t, offsets[2], f.Size())
			from, err := f.From(0)
			require.NoError(t, err)
			_, _ = f.Writer(logfile.Stdout).Write([]byte("three\n"))
			f.End()
			require.Equal(t, tt.want+"stdout F three\n", read(t, f, from))
		})
	}
}

func zero(t *testing.T, path string, n int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	_, err = f.WriteAt(make([]byte, n), 0)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

func appendTo(t *testing.T, path, s string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	require.NoError(t, err)
	_, err = f.WriteString(s)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

func TestTailIsWhatTheKubeletTakes(t *testing.T) {
	tests := map[string]struct{ written, want string }{
		"all of a short log":      {"one\ntwo\n", "one\ntwo\n"},
		"a line without newline":  {"one\ntwo", "one\ntwo"},
		"the last 80 lines":       {strings.Repeat("a\n", 100), strings.Repeat("a\n", 80)},
		"the last 2048 bytes":     {strings.Repeat("b", 3000), strings.Repeat("b", 2048)},
		"nothing of an empty log": {"", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f, _ := open(t, wire.MaxLogBytes)
			w := f.Writer(logfile.Stdout)
			_, _ = w.Write([]byte(tt.written))
			require.NoError(t, w.Close())
			require.Equal(t, tt.want, f.Tail())
		})
	}
}

func TestStoreKeepsTheLatestAttempts(t *testing.T) {
	dir := t.TempDir()
	s, err := logfile.NewStore(dir)
	require.NoError(t, err)
	for attempt := range int32(12) {
		f, err := s.Create("app", attempt)
		require.NoError(t, err)
		_, _ = fmt.Fprintf(f.Writer(logfile.Stdout), "attempt %d\n", attempt)
		f.End()
	}
	require.NoError(t, s.Close())

	s, err = logfile.NewStore(dir)
	require.NoError(t, err)
	defer s.Close()
	_, err = s.Get("app", 3)
	require.ErrorIs(t, err, logfile.ErrNotFound)
	for attempt := int32(4); attempt < 12; attempt++ {
		f, err := s.Get("app", attempt)
		require.NoError(t, err)
		assert.Equal(t, fmt.Sprintf("stdout F attempt %d\n", attempt), read(t, f, 0))
	}
}

func TestTimeStampsAreRFC3339InUTC(t *testing.T) {
	f, _ := open(t, wire.MaxLogBytes)
	before := time.Now()
	_, _ = f.Writer(logfile.Stdout).Write([]byte("x\n"))
	after := time.Now()
	f.End()
	var b bytes.Buffer
	require.NoError(t, f.Follow(t.Context(), 0, &b))
	at, err := time.Parse(time.RFC3339Nano, strings.Fields(b.String())[0])
	require.NoError(t, err)
	require.WithinRange(t, at, before, after)
	require.Equal(t, time.UTC, at.Location())
}
