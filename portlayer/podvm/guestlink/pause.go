package guestlink

import (
	"errors"
	"time"
)

const (
	dialPause    = 50 * time.Millisecond // before the second attempt; it doubles
	maxDialPause = time.Second
	// maxMalformedPause bounds the pause after sessions in which the guest sent what no guest of ours sends. Each one costs the
	// host more than it costs the guest.
	maxMalformedPause = 20 * time.Second
	// lasting is how long a session takes that makes up for those before it.
	lasting = maxMalformedPause
)

// pauses are how long a Link waits before it connects again.
type pauses struct {
	broken    time.Duration // the latest after a channel that broke, or did not come about
	malformed time.Duration // the latest after a session of nonsense
}

// after returns how long to wait after a session that lasted so long and ended with err. abused says that the guest made the
// host hold what is let go of only by and by.
func (p *pauses) after(err error, lasted time.Duration, abused bool) time.Duration {
	if lasted >= lasting {
		*p = pauses{}
	}
	if !abused && !errors.Is(err, ErrMalformed) {
		p.broken = min(max(2*p.broken, dialPause), maxDialPause)
		return p.broken
	}
	least := dialPause
	if abused {
		least = streamCloseTimeout
	}
	p.malformed = min(max(2*p.malformed, least), maxMalformedPause)
	return p.malformed
}
