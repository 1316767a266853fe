//go:build qemu && long

package podvm_test

import "testing"

// TestAHostileGuestForLonger gives each way to misbehave more time.
func TestAHostileGuestInAVM(t *testing.T) { parade(t, 2) }

func TestAHostileGuestForLonger(t *testing.T) { parade(t, 3) }
