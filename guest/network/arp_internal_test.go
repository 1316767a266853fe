package network

import (
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	ours   = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	theirs = net.HardwareAddr{2, 0, 0, 0, 0, 2}
	ip     = netip.MustParseAddr("10.0.0.5")
)

func TestClaim(t *testing.T) {
	reply := request(theirs, netip.MustParseAddr("10.0.0.9"))
	reply[21] = arpReply
	copy(reply[28:], ip.AsSlice())
	elsewhere := request(theirs, netip.MustParseAddr("10.0.0.6"))
	tests := map[string]struct {
		frame []byte
		want  net.HardwareAddr
	}{
		"a reply of the address's owner": {reply, theirs},
		"a probe for the same address":   {request(theirs, ip), theirs},
		"a probe for another address":    {elsewhere, nil},
		"our own probe":                  {request(ours, ip), nil},
		"a short frame":                  {reply[:20], nil},
		"a frame of another protocol":    {append(append(append([]byte{}, reply[:12]...), 8, 0), reply[14:]...), nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tt.want, claim(tt.frame, ours, ip))
		})
	}
}
