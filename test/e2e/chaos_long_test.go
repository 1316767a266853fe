//go:build e2e && long

package e2e_test

import (
	"testing"
	"time"
)

func TestChaos(t *testing.T) {
	runChaos(t, chaosPlan{
		pods: 50, last: 10 * time.Minute, killEvery: 20 * time.Second, actEvery: 3 * time.Second, settle: 15 * time.Minute,
	})
}
