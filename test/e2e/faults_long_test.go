//go:build e2e && long

package e2e_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/virtual-kubelet/vic/internal/testinitrd"
)

func TestTheAPIServerIsAwayForTenMinutes(t *testing.T) {
	f := joinFaulty(t, "away")
	apiAway(t, f, 10*time.Minute)
	f.requireNothingLeft(t)
}

func TestAQEMUIsStoppedForAMinute(t *testing.T) {
	f := joinFaulty(t, "stopped")
	p := f.waitReady(t, f.create(t, f.pod(f.ns, "stopped", countLines)))
	other := f.waitReady(t, f.create(t, f.pod(f.ns, "other", countLines)))
	before := f.waitVM(t, p, "runs", runs)
	require.NoError(t, syscall.Kill(before.PID, syscall.SIGSTOP))
	stopped := time.Now()
	f.waitPod(t, p, "is unreachable", func(p *corev1.Pod) bool {
		return conditionOf(p, corev1.PodReady).Reason == "GuestUnreachable"
	})
	f.waitEvent(t, p, "GuestUnreachable", "its console")
	assert.Equal(t, "alive\n", f.kubectl(t, "-n", f.ns, "exec", "other", "--", "echo", "alive"))
	f.requireCounts(t, other, 100)
	f.atLeast(t, time.Minute-time.Since(stopped))
	require.NoError(t, syscall.Kill(before.PID, syscall.SIGCONT))
	p = f.waitReady(t, p)
	assert.Zero(t, restarts(p))
	assert.Equal(t, before.PID, f.waitVM(t, p, "runs", runs).PID)
	assert.Zero(t, restarts(f.waitReady(t, other)))
	f.requireCounts(t, p, 100)
	f.force(t, p)
	f.force(t, other)
	f.waitGone(t, p)
	f.waitGone(t, other)
	f.requireNothingLeft(t)
}

// TestAGuestNeverGreets has a VM whose boot is stuck: the test's guest image does that in one of four processors.
func TestAGuestNeverGreets(t *testing.T) {
	image := t.TempDir()
	require.NoError(t, os.Symlink(bin("guest/vmlinuz"), filepath.Join(image, "vmlinuz")))
	stuck, err := testinitrd.Build(t.Context(), testinitrd.HostileInit)
	require.NoError(t, err)
	guest, err := os.ReadFile(bin("vic-guest"))
	require.NoError(t, err)
	files := map[string][]byte{"init": stuck, "vic-guest": guest}
	require.NoError(t, testinitrd.Write(filepath.Join(image, "initrd.zst"), bin("guest/initrd.zst"), files))

	f := joinFaulty(t, "stuck", "guestImage: "+image)
	p := f.create(t, f.pod(f.ns, "stuck", sleepForever, func(p *corev1.Pod) {
		r := &p.Spec.Containers[0].Resources
		r.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m")}
		r.Limits[corev1.ResourceCPU] = resource.MustParse("4")
	}))
	other := f.waitReady(t, f.create(t, f.pod(f.ns, "other", sleepForever)))
	f.waitEvent(t, p, "FailedCreatePodSandBox", "guest unreachable", "waiting for a device that never comes")
	p = f.waitPod(t, p, "waits", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodPending })
	assert.Zero(t, restarts(p))
	assert.Zero(t, restarts(f.waitReady(t, other)))
	f.delete(t, p)
	f.delete(t, other)
	f.requireNothingLeft(t)
}
