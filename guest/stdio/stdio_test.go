package stdio_test

import (
	"bytes"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/stdio"
)

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	return r, w
}

func TestCopyReadsToTheEnd(t *testing.T) {
	r, w := pipe(t)
	want := strings.Repeat("0123456789", 100_000)
	go func() {
		_, _ = io.WriteString(w, want)
		_ = w.Close()
	}()
	var b bytes.Buffer
	stdio.Copy(&b, r, nil)
	require.Equal(t, want, b.String())
}

func TestCopyLosesNothingThatWasWrittenBeforeTheEnd(t *testing.T) {
	tests := map[string]time.Duration{
		"with a reader that keeps up":                0,
		"with a reader that misses the grace period": time.Second,
	}
	for name, delay := range tests {
		t.Run(name, func(t *testing.T) {
			r, w := pipe(t) // w stays open, as a grandchild keeps it
			ended := make(chan struct{})
			want := strings.Repeat("x", 60_000)
			_, err := io.WriteString(w, want)
			require.NoError(t, err)
			close(ended)
			got := &slow{delay: delay}
			stdio.Copy(got, r, ended)
			require.Equal(t, want, got.String())
		})
	}
}

// slow takes its time for the first write.
type slow struct {
	bytes.Buffer
	delay time.Duration
}

func (s *slow) Write(b []byte) (int, error) {
	<-time.After(s.delay)
	s.delay = 0
	return s.Buffer.Write(b)
}

func TestCopyDiscardsForAWriterThatFails(t *testing.T) {
	r, w := pipe(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = w.WriteString(strings.Repeat("x", 1_000_000))
		_ = w.Close()
	}()
	pr, pw := io.Pipe()
	require.NoError(t, pr.Close())
	stdio.Copy(pw, r, nil)
	<-done
}

func TestFanoutGivesEveryoneACopy(t *testing.T) {
	var f stdio.Fanout
	_, _ = f.Write([]byte("before "))
	var wg sync.WaitGroup
	var got [4]bytes.Buffer
	attach := func(i int) {
		a := f.Attach()
		wg.Go(func() { a.Copy(&got[i], nil) })
	}
	attach(0)
	attach(1)
	_, _ = f.Write([]byte("one "))
	attach(2)
	_, _ = f.Write([]byte("two"))
	f.Close()
	attach(3)
	wg.Wait()
	require.Equal(t, "one two", got[0].String())
	require.Equal(t, "one two", got[1].String())
	require.Equal(t, "two", got[2].String())
	require.Empty(t, got[3].String())
}

func TestFanoutCutsOffWhoDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f stdio.Fanout
		pr, pw := io.Pipe()
		gone := make(chan struct{})
		a := f.Attach()
		go func() {
			a.Copy(pw, nil)
			close(gone)
		}()
		synctest.Wait()
		began := time.Now()
		for range 200 {
			_, _ = f.Write([]byte("x"))
		}
		require.Equal(t, 10*time.Second, time.Since(began))
		require.NoError(t, pr.Close())
		<-gone
	})
}
