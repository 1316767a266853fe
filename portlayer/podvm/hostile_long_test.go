//go:build qemu && long

package podvm_test

import "testing"

// TestAHostileGuestForLonger gives each way to misbehave more time.
func TestAHostileGuestForLonger(t *testing.T) { parade(t, 3) }
