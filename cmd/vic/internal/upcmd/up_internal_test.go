package main

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/virtual-kubelet/vic/provider"
)

func TestWhereUpServesTheKubeletAPI(t *testing.T) {
	tests := map[string]struct {
		flag int
		want provider.Listen
	}{
		"where tools expect it, or else on any port": {0, provider.Listen{Address: "10.0.0.1:10250", OrAnyPort: true, Setting: "--kubelet-port"}},
		"on the port that the user gave, or nowhere": {8443, provider.Listen{Address: "10.0.0.1:8443", Setting: "--kubelet-port"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := upOptions{kubeletPort: tt.flag}
			assert.Equal(t, tt.want, o.kubeletListen(netip.MustParseAddr("10.0.0.1")))
		})
	}
}
