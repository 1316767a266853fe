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

// Each of these needs hours where the work for one entry grows with the number of all others: go test ends it then.
func TestHostileLayersTakeNoLongerThanOthers(t *testing.T) {
	const n = 60_000
	tests := map[string]func(i int) entry{
		"an opaque directory again and again": func(i int) entry {
			if i%2 == 0 {
				return mark("a/.wh..wh..opq")
			}
			return file(fmt.Sprintf("a/%d", i), "")
		},
		"an opaque directory by many names": func(i int) entry {
			switch i % 4 {
			case 0:
				return symlink(fmt.Sprintf("link-%d", i), "a")
			case 1:
				return mark(fmt.Sprintf("link-%d/.wh..wh..opq", i-1))
			}
			return file(fmt.Sprintf("a/%d", i), "")
		},
		"a whiteout of a directory again and again": func(i int) entry {
			if i%2 == 0 {
				return mark(".wh.a")
			}
			return file(fmt.Sprintf("a/%d", i), "")
		},
		"the same name again and again": func(int) entry { return file("a/b/c", "") },
	}
	for name, make := range tests {
		t.Run(name, func(t *testing.T) {
			f := flatten.New(tempFile(t), flatten.Limits{})
			require.NoError(t, f.AddLayer(t.Context(), "test", bytes.NewReader(layerOf(t, crowd(n, make)))))
		})
	}
}
