package persona

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/persona/flatten"
)

func TestLimitsAreSetByName(t *testing.T) {
	var got Limits
	for name, n := range map[string]int64{
		"bytes": 16 << 30, "entries": 50_000, "depth": 64, "metadata": 64 << 20, "attributes": 1024, "layers": 40, "document": 1 << 20,
	} {
		require.NoError(t, got.Set(name, n))
	}
	require.Equal(t, Limits{
		Files:  flatten.Limits{Bytes: 16 << 30, Entries: 50_000, Depth: 64, MetadataBytes: 64 << 20, XattrBytes: 1024},
		Layers: 40, DocumentBytes: 1 << 20,
	}, got)
	require.Len(t, LimitNames(), 7)
}

func TestALimitThatCannotBeIsRefused(t *testing.T) {
	for _, tt := range []struct {
		name string
		n    int64
		want string
	}{
		{"size", 1, "no such limit: there are attributes, bytes"},
		{"depth", 0, "0 is not within 1 and 2047"},
		{"depth", 3000, "3000 is not within 1 and 2047"},
		{"document", 1 << 30, "not within 1 and 16777216"},
		{"entries", 100 << 20, "not within 1 and 8388608"},
	} {
		var l Limits
		require.ErrorContains(t, l.Set(tt.name, tt.n), tt.want)
		require.Zero(t, l)
	}
}

func TestLimitsAreDocumentedWithTheirDefaults(t *testing.T) {
	text, err := os.ReadFile("../docs/images.md")
	require.NoError(t, err)
	for name, limit := range namedLimits {
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
