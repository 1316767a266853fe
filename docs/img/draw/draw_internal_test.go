package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestThePictureOfTheREADMEIsOfItsSource(t *testing.T) {
	svg := filepath.Join(t.TempDir(), "cluster.svg")
	require.NoError(t, run([]string{"../cluster.boxes", svg}))
	want, err := os.ReadFile(svg)
	require.NoError(t, err)
	got, err := os.ReadFile("../cluster.svg")
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), "go generate ./docs/img/draw draws it anew")
}

func TestBoxesFillTheBoxThatHoldsThem(t *testing.T) {
	p, err := parse(`row
	place "a"
		row
			part "short"
			part "much longer than the other"
	place "b"
		part "one"
		part "two"
		part "three"
`)
	require.NoError(t, err)
	a, b := p.root.boxes[0].boxes[0], p.root.boxes[0].boxes[1]
	require.Equal(t, a.h, b.h, "boxes side by side are equally high")
	require.Equal(t, a.x+a.w+gap, b.x)
	last := a.boxes[0].boxes[1]
	require.Equal(t, a.x+a.w-padding, last.x+last.w, "a row reaches the right edge")
	require.Equal(t, a.bottom()-padding, last.bottom(), "a row reaches the lower edge")
	require.Equal(t, b.bottom()-padding, b.boxes[2].bottom(), "a column reaches the lower edge")
	require.Greater(t, float64(last.w), charWidth*float64(len(last.title())), "text has room")
}

func TestAnArrowLeadsFromEdgeToEdge(t *testing.T) {
	p, err := parse("a: part \"upper\"\nplace \"p\"\n\tb: part \"lower\"\n\na -> b \"<label>\"\n")
	require.NoError(t, err)
	upper, place := p.root.boxes[0], p.root.boxes[1]
	require.Equal(t, upper.bottom()+arrowRoom, place.y, "an arrow has room between what it joins")
	require.Equal(t, upper.bottom()+arrowRoom/2, p.arrows[0].gapMiddle(p.root))
	require.Contains(t, string(p.svg()), "&lt;label&gt;")
}

func TestAWrongSourceIsRefused(t *testing.T) {
	tests := map[string]struct{ source, says string }{
		"a line that is nothing":               {"place 'p'", "line 1"},
		"a box that is indented too far":       {"place \"p\"\n\t\tpart", "line 2"},
		"an arrow to nowhere":                  {"a: part\n\na -> b", "line 3"},
		"an arrow between boxes side by side":  {"row\n\ta: part \"one\"\n\tb: part \"two\"\n\na -> b", "from one to two would not be vertical"},
		"an arrow from the lower to the upper": {"a: part \"one\"\nb: part\n\nb -> a", "from part to one would not be vertical"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := parse(tt.source)
			require.ErrorContains(t, err, tt.says)
		})
	}
}

func TestAWrongCommandLineIsRefused(t *testing.T) {
	require.ErrorContains(t, run(nil), "usage")
	require.ErrorContains(t, run([]string{"/nowhere", "x"}), "/nowhere")
}
