package imagecmd

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/persona"
)

// showPull has p show a pull of two layers and 4 MiB that takes 8 s.
func showPull(p *pullProgress) {
	for i := range int64(9) {
		p.show(persona.Progress{Layer: 1 + int(i/8), Layers: 2, Bytes: i << 19, TotalBytes: 4 << 20})
		<-time.After(time.Second)
	}
	p.show(persona.Progress{Layer: 2, Layers: 2, Bytes: 4 << 20, TotalBytes: 4 << 20}) // that there is no more
	p.close()
}

func TestProgressElsewhereIsALineNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		showPull(newPullProgress(&out))
		require.Equal(t, "layer 1 of 2, 0.0 MiB of 4.0 MiB (0 %)\n"+
			"layer 1 of 2, 2.5 MiB of 4.0 MiB (62 %)\n"+
			"layer 2 of 2, 4.0 MiB of 4.0 MiB (100 %)\n", out.String())
	})
}

func TestProgressOnATerminalIsOneLineThatGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		showPull(&pullProgress{w: &out, terminal: true})
		require.Equal(t, 10, bytes.Count(out.Bytes(), []byte(clearLine)))
		require.NotContains(t, out.String(), "\n")
		require.True(t, bytes.HasSuffix(out.Bytes(), []byte("(100 %)"+clearLine)))
	})
}

func TestProgressOfNothingIsShown(t *testing.T) {
	var out bytes.Buffer
	p := newPullProgress(&out)
	p.show(persona.Progress{Layer: 1, Layers: 1})
	p.close()
	require.Equal(t, "layer 1 of 1, 0.0 MiB of 0.0 MiB (0 %)\n", out.String())
}
