package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/persona"
	"github.com/virtual-kubelet/vic/persona/flatten"
)

func TestImageLimitsAreTheSameByFlagAndByFile(t *testing.T) {
	want := persona.Limits{
		Files:  flatten.Limits{Bytes: 16 << 30, Entries: 50_000, Depth: 64, MetadataBytes: 64 << 20, XattrBytes: 1024},
		Layers: 40, DocumentBytes: 1 << 20,
	}
	flags := imageLimitFlags{"bytes=16Gi", "entries=50k", "depth=64", "metadata=64Mi", "attributes=1Ki", "layers=40", "document=1Mi"}
	got, err := flags.limits()
	require.NoError(t, err)
	require.Equal(t, want, got)

	file := filepath.Join(t.TempDir(), "node.yaml")
	text := "nodeName: a\nimageLimits: {bytes: 16Gi, entries: 50000, depth: 64, metadata: 64Mi, attributes: 1Ki, layers: 40, document: 1Mi}\n"
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	node, err := readNodeFile(file)
	require.NoError(t, err)
	got, err = node.limits()
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func TestBadImageLimitsAreRefusedByName(t *testing.T) {
	tests := map[string]string{
		"bytes":         "NAME=QUANTITY",
		"size=1":        "no such limit: there are attributes, bytes",
		"bytes=":        "quantities must match",
		"bytes=lots":    "quantities must match",
		"depth=0":       "not within 1 and 2047",
		"depth=3000":    "not within 1 and 2047",
		"entries=0.5":   "not a whole number",
		"bytes=-1":      "not within 1",
		"document=1Gi":  "not within 1 and 16777216",
		"entries=100Mi": "not within 1 and 8388608",
	}
	for given, want := range tests {
		t.Run(given, func(t *testing.T) {
			_, err := (&imageLimitFlags{given}).limits()
			require.ErrorContains(t, err, fmt.Sprintf("--image-limit %q", given))
			require.ErrorContains(t, err, want)
		})
	}
	file := filepath.Join(t.TempDir(), "node.yaml")
	require.NoError(t, os.WriteFile(file, []byte("nodeName: a\nimageLimits: {depth: 0}\n"), 0o600))
	_, err := readNodeFile(file)
	require.ErrorContains(t, err, "imageLimits: depth: not within 1 and 2047")
}

func TestImageLimitsAreDocumentedWithTheirDefaults(t *testing.T) {
	text, err := os.ReadFile("../../docs/images.md")
	require.NoError(t, err)
	for name, limit := range imageLimits {
		row := fmt.Sprintf("| `%s` | %s |", name, shortQuantity(limit.initial))
		require.Contains(t, string(text), row)
	}
}

func shortQuantity(n int64) string {
	for _, unit := range []struct {
		suffix string
		shift  uint
	}{{"Gi", 30}, {"Mi", 20}, {"Ki", 10}} {
		if n >= 1<<unit.shift && n%(1<<unit.shift) == 0 {
			return fmt.Sprintf("%d%s", n>>unit.shift, unit.suffix)
		}
	}
	return strconv.FormatInt(n, 10)
}
