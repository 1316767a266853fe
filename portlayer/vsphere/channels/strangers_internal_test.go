package channels

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestConnectionsOfAnAddressComeBackWithTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rates{}
		count := func(from string, known bool) (allowed int) {
			for range 200 {
				if r.allow(netip.MustParseAddr(from), known) {
					allowed++
				}
			}
			return allowed
		}
		assert.Equal(t, handshakeBurst, count("192.0.2.1", true))
		assert.Zero(t, count("192.0.2.1", true))
		assert.Equal(t, handshakeBurst, count("192.0.2.2", true), "another VM has its own")
		assert.Equal(t, maxStrangers, count("198.51.100.1", false))
		assert.Zero(t, count("198.51.100.2", false), "addresses that no VM has share theirs")
		<-time.After(time.Second)
		assert.Equal(t, handshakes, count("192.0.2.1", true))
		<-time.After(time.Hour)
		for i := range 3 * quietAddresses {
			r.allow(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), true)
			<-time.After(time.Second)
		}
		assert.LessOrEqual(t, len(r), quietAddresses, "who was quiet for long is forgotten")
	})
}
