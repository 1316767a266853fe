package steps_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/virtual-kubelet/vic/steps"
)

func TestDelaysDoubleUpToTheLongest(t *testing.T) {
	b := steps.Backoff{First: time.Second, Max: 10 * time.Second}
	var delays []time.Duration
	for range 6 {
		delays = append(delays, b.Next())
	}
	assert.Equal(t, []time.Duration{1e9, 2e9, 4e9, 8e9, 10e9, 10e9}, delays)
}

func TestRetriesGoByName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := steps.NewRetries(time.Second, time.Minute)
		assert.Zero(t, r.Wait("one"), "it has not failed")
		r.Failed("one", errDry)
		assert.InDelta(t, 1.1, r.Wait("one").Seconds(), 0.1)
		assert.Zero(t, r.Wait("two"))
		r.Failed("one", errDry)
		assert.InDelta(t, 2.2, r.Wait("one").Seconds(), 0.2)
		assert.Equal(t, errDry, r.Failures()["one"].Err)
		<-time.After(3 * time.Second)
		assert.Zero(t, r.Wait("one"))
		assert.Contains(t, r.Failures(), "one", "its time has come, and it has not succeeded yet")
		r.Succeeded("one")
		assert.Empty(t, r.Failures())
		r.Failed("one", errDry)
		assert.InDelta(t, 1.1, r.Wait("one").Seconds(), 0.1, "it begins anew")
	})
}
