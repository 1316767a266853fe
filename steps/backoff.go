package steps

import "time"

// Backoff counts failures; the delay after each is twice the one before. The zero value has no delays.
type Backoff struct {
	// First is the delay after the first failure; none is longer than Max.
	First, Max time.Duration
	// Failures is how many there were.
	Failures int
}

// Next counts one more failure and returns the delay after it.
func (b *Backoff) Next() time.Duration {
	d := b.First
	for range b.Failures {
		if d *= 2; d >= b.Max {
			d = b.Max
			break
		}
	}
	b.Failures++
	return d
}
