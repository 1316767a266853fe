package guestlink_test

import (
	"encoding/json"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/portlayer/podvm/guestlink"
)

var expect = guestlink.Expect{
	Containers: []string{"app", "sidecar"},
	Addresses:  []netip.Addr{netip.MustParseAddr("10.9.0.2")},
}

// honest is a snapshot as a guest of ours sends it.
func honest() wire.Snapshot {
	now := time.Now().UTC()
	return wire.Snapshot{
		BootID: "0a1b2c3d-0000-4000-8000-000000000000", Generation: 7, Time: now, Phase: wire.PhaseConfigured,
		Addresses: []netip.Addr{netip.MustParseAddr("10.9.0.2")},
		Containers: []wire.ContainerStatus{
			{
				Name: "app", State: wire.ContainerRunning, Known: true, ID: strings.Repeat("a", 64), StartedAt: now,
				RestartCount: 2, LogBytes: 100,
				Last: &wire.Terminated{ID: strings.Repeat("b", 64), ExitCode: 137, Signal: 9, Reason: "Error", Attempt: 1},
			},
			{Name: "sidecar", State: wire.ContainerWaiting, Reason: wire.ReasonContainerCreating},
		},
		Events: []wire.Event{{Seq: 1, Container: "app", Reason: "Started"}, {Seq: 2, Reason: "Other"}},
	}
}

func TestCheckKeepsWhatIsHonest(t *testing.T) {
	s, err := guestlink.Check(honest(), expect)
	require.NoError(t, err)
	want, got := honest(), *s
	want.Time, want.Containers[0].StartedAt = got.Time, got.Containers[0].StartedAt
	require.Equal(t, want, got)
}

func TestCheckCutsDown(t *testing.T) {
	long := strings.Repeat("é", wire.MaxMessageBytes)
	tests := map[string]struct {
		spoil func(s *wire.Snapshot)
		check func(t *testing.T, s *wire.Snapshot)
	}{
		"containers that are not the pod's": {
			func(s *wire.Snapshot) { s.Containers[1].Name = "../other" },
			func(t *testing.T, s *wire.Snapshot) { t.Helper(); assert.Len(t, s.Containers, 1) },
		},
		"containers that come twice": {
			func(s *wire.Snapshot) { s.Containers[1].Name = "app" },
			func(t *testing.T, s *wire.Snapshot) { t.Helper(); assert.Len(t, s.Containers, 1) },
		},
		"addresses that are not the VM's": {
			func(s *wire.Snapshot) { s.Addresses = append(s.Addresses, netip.MustParseAddr("10.9.0.1")) },
			func(t *testing.T, s *wire.Snapshot) { t.Helper(); assert.Equal(t, expect.Addresses, s.Addresses) },
		},
		"exit codes and signals that no process has": {
			func(s *wire.Snapshot) {
				s.Containers[0].Last.ExitCode, s.Containers[0].Last.Signal = math.MaxInt32, -1
			},
			func(t *testing.T, s *wire.Snapshot) {
				t.Helper()
				assert.Equal(t, int32(255), s.Containers[0].Last.ExitCode)
				assert.Zero(t, s.Containers[0].Last.Signal)
			},
		},
		"counts below zero, and attempts that were not made": {
			func(s *wire.Snapshot) {
				s.Containers[0].Last.Attempt, s.Containers[0].LogBytes, s.Containers[0].Backoff = 99, -5, -time.Second
				s.Containers[1].RestartCount = -1
			},
			func(t *testing.T, s *wire.Snapshot) {
				t.Helper()
				assert.Equal(t, int32(2), s.Containers[0].Last.Attempt)
				assert.Zero(t, s.Containers[0].LogBytes)
				assert.Zero(t, s.Containers[0].Backoff)
				assert.Zero(t, s.Containers[1].RestartCount)
			},
		},
		"counts that have no successor": {
			func(s *wire.Snapshot) {
				s.Containers[0].RestartCount, s.Containers[0].Last.Attempt = math.MaxInt32, math.MaxInt32
			},
			func(t *testing.T, s *wire.Snapshot) {
				t.Helper()
				assert.Equal(t, int32(1<<30), s.Containers[0].RestartCount)
				assert.Equal(t, int32(1<<30), s.Containers[0].Last.Attempt)
			},
		},
		"reasons that are no words": {
			func(s *wire.Snapshot) {
				s.Containers[0].Last.Reason, s.Containers[1].Reason, s.Events[0].Reason = "", "Go to http://evil.example/", strings.Repeat("x", 65)
			},
			func(t *testing.T, s *wire.Snapshot) {
				t.Helper()
				assert.Equal(t, "Unknown", s.Containers[0].Last.Reason)
				assert.Empty(t, s.Containers[0].Reason, "what runs has none")
				assert.Equal(t, "Unknown", s.Containers[1].Reason)
				assert.Equal(t, "Unknown", s.Events[0].Reason)
			},
		},
		"texts without end, at a whole character": {
			func(s *wire.Snapshot) {
				s.StopReason, s.Containers[1].Message, s.Events[0].Message = long, long, "x"+long
				s.Containers[0].Revision = long
			},
			func(t *testing.T, s *wire.Snapshot) {
				t.Helper()
				assert.Len(t, s.StopReason, wire.MaxMessageBytes)
				assert.Len(t, s.Containers[0].Revision, wire.MaxRevisionBytes)
				assert.Len(t, s.Containers[1].Message, wire.MaxMessageBytes)
				assert.Len(t, s.Events[0].Message, wire.MaxMessageBytes-1)
			},
		},
		"characters that steer a terminal, and take six bytes in JSON": {
			func(s *wire.Snapshot) {
				s.Containers[1].Message, s.Events[0].Message = "a\x00b\x1b[2J\r\n\tc\u0085\u009b", strings.Repeat("\x01", 1<<10)
			},
			func(t *testing.T, s *wire.Snapshot) {
				t.Helper()
				assert.Equal(t, "ab[2J\n\tc", s.Containers[1].Message, "lines stay")
				assert.Empty(t, s.Events[0].Message)
			},
		},
		"identifiers of another form": {
			func(s *wire.Snapshot) { s.Containers[0].ID = "<script>" },
			func(t *testing.T, s *wire.Snapshot) { t.Helper(); assert.Empty(t, s.Containers[0].ID) },
		},
		"times that cannot be": {
			func(s *wire.Snapshot) {
				s.Time, s.Containers[0].StartedAt = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), time.Unix(-1<<40, 0)
			},
			func(t *testing.T, s *wire.Snapshot) {
				t.Helper()
				assert.Zero(t, s.Time)
				assert.Zero(t, s.Containers[0].StartedAt)
			},
		},
		"events out of order or of others": {
			func(s *wire.Snapshot) {
				s.Events = []wire.Event{{Seq: 2}, {Seq: 1}, {Seq: 2}, {Seq: 3, Container: "other"}, {Seq: 4}}
			},
			func(t *testing.T, s *wire.Snapshot) {
				t.Helper()
				require.Len(t, s.Events, 2)
				assert.Equal(t, uint64(4), s.Events[1].Seq)
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := honest()
			tt.spoil(&s)
			got, err := guestlink.Check(s, expect)
			require.NoError(t, err)
			tt.check(t, got)
			_, err = json.Marshal(got)
			require.NoError(t, err)
		})
	}
}

func TestCheckRefuses(t *testing.T) {
	tests := map[string]func(s *wire.Snapshot){
		"a boot without a name":       func(s *wire.Snapshot) { s.BootID = "" },
		"a boot with a path as name":  func(s *wire.Snapshot) { s.BootID = "../x" },
		"a phase that is none":        func(s *wire.Snapshot) { s.Phase = "dancing" },
		"a state that is none":        func(s *wire.Snapshot) { s.Containers[0].State = "dancing" },
		"an end without its reason":   func(s *wire.Snapshot) { s.Containers[0].State = wire.ContainerTerminated },
		"an end of what still runs":   func(s *wire.Snapshot) { s.Containers[0].Current = &wire.Terminated{} },
		"more containers than a pod":  func(s *wire.Snapshot) { s.Containers = make([]wire.ContainerStatus, wire.MaxContainers+1) },
		"more events than are kept":   func(s *wire.Snapshot) { s.Events = make([]wire.Event, wire.MaxEvents+1) },
		"a boot whose name is a book": func(s *wire.Snapshot) { s.BootID = strings.Repeat("x", 1<<20) },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			s := honest()
			spoil(&s)
			_, err := guestlink.Check(s, expect)
			require.ErrorIs(t, err, guestlink.ErrMalformed)
			require.Less(t, len(err.Error()), 1000)
		})
	}
}

func FuzzCheck(f *testing.F) {
	b, err := json.Marshal(honest())
	require.NoError(f, err)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var s wire.Snapshot
		if json.Unmarshal(b, &s) != nil {
			return
		}
		got, err := guestlink.Check(s, expect)
		if err != nil {
			require.ErrorIs(t, err, guestlink.ErrMalformed)
			return
		}
		_, err = json.Marshal(got)
		require.NoError(t, err)
	})
}
