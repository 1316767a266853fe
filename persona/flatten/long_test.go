//go:build long

package flatten_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/persona/flatten"
)

// crowds are layers of as many links as ext4 counts, entry by entry; one more is too many.
var crowds = map[string]struct {
	entry func(i int) entry
	most  int
	want  string
}{
	"hard links": {func(i int) entry {
		if i == 0 {
			return file("first", "")
		}
		return hardlink(fmt.Sprintf("%06d", i), "first")
	}, 65000, `layer lower: entry "first": image too large: more than 65000 hard links`},
	"directories in the root": {
		func(i int) entry { return dir(fmt.Sprintf("%06d", i)) },
		64997, `layer upper: entry "064997": image too large: more than 64997 directories in one`,
	},
	"directories in another": {
		func(i int) entry { return dir(fmt.Sprintf("sub/%06d", i)) },
		64997, `layer upper: entry "sub/064997": image too large: more than 64997 directories in one`,
	},
}

func TestMoreLinksThanExt4CountsAreRefused(t *testing.T) {
	for name, tt := range crowds {
		t.Run(name, func(t *testing.T) {
			f := flatten.New(tempFile(t), flatten.Limits{})
			require.NoError(t, f.AddLayer(t.Context(), "lower", bytes.NewReader(layerOf(t, crowd(tt.most, tt.entry)))))
			require.NoError(t, f.AddLayer(t.Context(), "upper", bytes.NewReader(layerOf(t, []entry{tt.entry(tt.most)}))))
			err := f.WriteExt4(t.Context(), tempFile(t))
			require.ErrorIs(t, err, flatten.ErrTooLarge)
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestAsManyLinksAsExt4CountsAreTaken(t *testing.T) {
	for name, tt := range crowds {
		t.Run(name, func(t *testing.T) {
			f, disk := flatten.New(tempFile(t), flatten.Limits{}), tempFile(t)
			require.NoError(t, f.AddLayer(t.Context(), "only", bytes.NewReader(layerOf(t, crowd(tt.most, tt.entry)))))
			require.NoError(t, f.WriteExt4(t.Context(), disk))
			check(t, disk.Name())
		})
	}
}
