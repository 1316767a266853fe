package guestlink

import (
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/wire"
)

func TestDecodeSnapshot(t *testing.T) {
	s, err := decodeSnapshot(strings.NewReader(`{"bootID":"b","phase":"done","time":"2026-01-02T03:04:05Z","addresses":["10.9.0.2"],
		"containers":[{"name":"app","state":"running"}],"events":null}`))
	require.NoError(t, err)
	assert.Equal(t, "b", s.BootID)
	assert.Equal(t, []netip.Addr{netip.MustParseAddr("10.9.0.2")}, s.Addresses)
	assert.Equal(t, []wire.ContainerStatus{{Name: "app", State: wire.ContainerRunning}}, s.Containers)
	assert.Empty(t, s.Events)
}

func TestDecodeRefuses(t *testing.T) {
	list := func(item string, count int) string { return "[" + strings.Repeat(item+",", count-1) + item + "]" }
	tests := map[string]string{
		"more containers than a pod has":       `{"containers":` + list("{}", wire.MaxContainers+1) + `}`,
		"more events than are kept":            `{"events":` + list("{}", wire.MaxEvents+1) + `}`,
		"more addresses than a VM has":         `{"addresses":` + list(`""`, maxAddresses+1) + `}`,
		"a list that comes twice":              `{"containers":[{}],"Containers":[{}]}`,
		"an object in place of a list":         `{"containers":{"a":1}}`,
		"a number in place of a list":          `{"containers":1}`,
		"an address that is none":              `{"addresses":["` + strings.Repeat("x", 1<<16) + `"]}`,
		"a container that is a list":           `{"containers":[[]]}`,
		"a list without an end":                `{"containers":[{}`,
		"more bytes than a snapshot may have":  `{"stopReason":"` + strings.Repeat("x", wire.MaxSnapshotBytes) + `"}`,
		"a time that is none":                  `{"time":"yesterday"}`,
		"something behind the end of the JSON": `{}{}`,
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := decodeSnapshot(strings.NewReader(text))
			require.ErrorIs(t, err, ErrMalformed)
			require.Less(t, len(err.Error()), 1100)
		})
	}
	t.Run("stats of more containers than a pod has", func(t *testing.T) {
		_, err := decodeStats(strings.NewReader(`{"containers":` + list("{}", wire.MaxContainers+1) + `}`))
		require.ErrorIs(t, err, ErrMalformed)
	})
}

func TestAnAnswerThatBreaksOffIsNotMalformed(t *testing.T) {
	_, err := decodeSnapshot(iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader(`{"bootID":"b"}`))))
	require.ErrorIs(t, err, ErrUnreachable)
	require.NotErrorIs(t, err, ErrMalformed)
}

// BenchmarkSnapshotOfMany shows what a guest makes us allocate with a snapshot of the full size.
func BenchmarkSnapshotOfMany(b *testing.B) {
	text := `{"containers":[` + strings.Repeat("{},", wire.MaxSnapshotBytes/3-10) + "{}]}"
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeSnapshot(strings.NewReader(text)); err == nil {
			b.Fatal("it was taken")
		}
	}
}
