package guestlink

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// FuzzSnapshot takes what a guest may answer when it is asked for a snapshot. Whatever is handed on is of the VM, within
// bounds, and stays as it is when it is checked again.
func FuzzSnapshot(f *testing.F) {
	for _, seed := range []string{
		`{}`, `null`, `[]`, `{"bootID":"b","phase":"done"}`,
		`{"bootID":"b","phase":"configured","time":"2026-01-02T03:04:05Z","generation":18446744073709551615,
		"addresses":["10.9.0.2","::1"],"containers":[{"name":"app","state":"running","restartCount":-1,"logBytes":-1,
		"backoff":-9223372036854775808,"last":{"exitCode":-2147483648,"signal":99,"attempt":7}}],
		"events":[{"seq":2,"reason":"a"},{"seq":1,"container":"../x"}]}`,
		`{"bootID":"b","phase":"waiting","containers":[{"name":"app","state":"terminated"}]}`,
		`{"bootID":"b","phase":"waiting","containers":[{"name":"app","state":"terminated","current":{"finishedAt":"9999-12-31T23:59:59Z"}}]}`,
		`{"bootID":"` + strings.Repeat("x", 65) + `","phase":"done"}`,
	} {
		f.Add([]byte(seed))
	}
	expect := Expect{Containers: []string{"app", "sidecar"}, Addresses: []netip.Addr{netip.MustParseAddr("10.9.0.2")}}
	f.Fuzz(func(t *testing.T, b []byte) {
		raw, err := decodeSnapshot(bytes.NewReader(b))
		if err != nil {
			return
		}
		s, err := Check(raw, expect)
		if err != nil {
			require.ErrorIs(t, err, ErrMalformed)
			require.Less(t, len(err.Error()), 1024, "no error is as long as a guest likes")
			return
		}
		requireBounded(t, s, expect)
		again, err := Check(*s, expect)
		require.NoError(t, err)
		first, err := json.Marshal(s)
		require.NoError(t, err)
		second, err := json.Marshal(again)
		require.NoError(t, err)
		require.JSONEq(t, string(first), string(second))
	})
}

// requireBounded checks what nobody above may have to check again.
func requireBounded(t *testing.T, s *wire.Snapshot, expect Expect) {
	t.Helper()
	texts := []string{s.StopReason}
	for _, a := range s.Addresses {
		require.Contains(t, expect.Addresses, a)
	}
	for i, c := range s.Containers {
		require.Contains(t, expect.Containers, c.Name)
		require.Equal(t, i, slices.IndexFunc(s.Containers, func(o wire.ContainerStatus) bool { return o.Name == c.Name }))
		require.GreaterOrEqual(t, c.RestartCount, int32(0))
		require.GreaterOrEqual(t, c.LogBytes, int64(0))
		texts = append(texts, c.Reason, c.Message)
		for _, end := range []*wire.Terminated{c.Current, c.Last} {
			if end == nil {
				continue
			}
			require.True(t, end.ExitCode >= 0 && end.ExitCode <= 255, "%d", end.ExitCode)
			require.True(t, end.Attempt >= 0 && end.Attempt <= c.RestartCount, "%d", end.Attempt)
			texts = append(texts, end.Reason, end.Message)
		}
	}
	for _, e := range s.Events {
		texts = append(texts, e.Reason, e.Message)
	}
	for _, text := range texts {
		require.True(t, utf8.ValidString(text))
		require.LessOrEqual(t, len(text), wire.MaxMessageBytes)
	}
}

// FuzzPings counts the pings in a stream, which are as many in whatever pieces it comes.
func FuzzPings(f *testing.F) {
	ping := muxFrame(muxPing, muxRequest, 0, nil)
	f.Add(bytes.Repeat(ping, 3), uint8(5))
	f.Add(append(muxFrame(muxData, 0, 5, []byte("hello")), bytes.Repeat(ping, 9)...), uint8(1))
	f.Add(muxFrame(muxData, 0, 1<<31, []byte("endless")), uint8(4))
	f.Fuzz(func(t *testing.T, b []byte, piece uint8) {
		guard := func() *pingGuard {
			g := newPingGuard()
			g.pings = rate.NewLimiter(0, 4)
			return g
		}
		pieces, allowed := guard(), true
		for chunk := range slices.Chunk(b, int(piece)+1) {
			allowed = allowed && pieces.allow(chunk)
		}
		require.Equal(t, guard().allow(b), allowed)
	})
}

// FuzzProcess takes what a guest may send on a connection that carries a process.
func FuzzProcess(f *testing.F) {
	var whole bytes.Buffer
	w := wire.NewFrameWriter(&whole)
	for kind, payload := range map[wire.FrameType]string{
		wire.FrameStdout: "out", wire.FrameStderr: "err", wire.FrameEOF: "", wire.FrameStart: "{}",
	} {
		require.NoError(f, w.Frame(kind, []byte(payload)))
	}
	for _, exit := range []string{`{"code":3}`, `{"code":-7,"error":"no such file"}`, `{"code":"x"}`, ``} {
		end := bytes.Clone(whole.Bytes())
		b := bytes.NewBuffer(end)
		require.NoError(f, wire.NewFrameWriter(b).Frame(wire.FrameExit, []byte(exit)))
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var out, errs bytes.Buffer
		u := &upgraded{r: bufio.NewReader(bytes.NewReader(b))}
		exit, err := u.receive(Streams{Stdout: &out, Stderr: &errs})
		require.LessOrEqual(t, out.Len()+errs.Len(), len(b))
		if err != nil {
			require.Zero(t, exit, "no exit is made up")
			return
		}
		require.True(t, exit.Code >= 0 && exit.Code <= maxExitCode, "%d", exit.Code)
		require.LessOrEqual(t, len(exit.Error), wire.MaxMessageBytes)
	})
}

// FuzzText cuts a guest's words, which users get to see.
func FuzzText(f *testing.F) {
	f.Add("plain", 5)
	f.Add("é", 1)
	f.Add("\xff\xfe", 3)
	f.Add("\x1b]0;title\x07 and more\r\n", 9)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = min(max(limit, 0), 1<<16)
		got := clean(s, limit)
		require.LessOrEqual(t, len(got), limit)
		require.True(t, utf8.ValidString(got))
		require.NotContains(t, oneLine(s), "\x1b")
	})
}
