//go:build e2e && long

package e2e_test

import (
	"context"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

// noise is that many MiB which nothing makes smaller, others for each n.
func noise(n byte, mebibytes int) []byte {
	b := make([]byte, mebibytes<<20)
	_, _ = rand.NewChaCha8([32]byte{n}).Read(b) // it never fails
	return b
}

// image runs `vic image` with the cluster's directory.
func (c *cluster) image(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), bin("vic"), append(append([]string{"image"}, args...), "--dir", c.dir)...).CombinedOutput()
	require.NoError(t, err, "%q: %s", args, out)
	return string(out)
}

// TestImagesLeaveAFullDisk fills the disk of a node until an image that no pod has must go, and then further.
func TestImagesLeaveAFullDisk(t *testing.T) {
	t.Parallel()
	disk, registry := smallDisk(t, 1024), startSlowRegistry(t)
	m := enlist(t, "brimful", disk, "insecureRegistries: ["+registry.Host+"]", "imageGCHighThresholdPercent: 60",
		"imageGCLowThresholdPercent: 50", "imageGCPeriod: 1s", "imageMinimumGCAge: 0s")
	shared.nodeCredential(t, m.name, m.credential)
	m.importImage(t)
	m.begin(t)
	shared.approve(t, m.name)
	ns := shared.namespace(t)
	used, held := registry.image(t, "library/used", noise(1, 16))
	close(held.free)
	unused, held := registry.image(t, "library/unused", noise(2, 160))
	close(held.free)

	user := m.waitReady(t, m.create(t, m.pod(ns, "user", sleepForever, pulls(used))))
	content := m.kubectl(t, "-n", ns, "exec", user.Name, "--", "sha256sum", "/more")
	passer := m.waitPhase(t, m.create(t, m.pod(ns, "passer", "true", pulls(unused), restart(corev1.RestartPolicyNever))), corev1.PodSucceeded)
	m.delete(t, passer)
	has := func(repo string) bool { return strings.Contains(m.image(t, "ls"), repo) }
	require.True(t, has("library/unused"))

	fill(t, filepath.Join(disk, "filler"), 38)
	m.eventually(t, "the image that no pod has is gone", func(context.Context) (bool, string) {
		return !has("library/unused"), m.image(t, "ls")
	})
	assert.True(t, has("library/used"))
	assert.True(t, has("vic-e2e"), "what was imported stays")

	assert.Contains(t, m.image(t, "prune", "--all", "--dry-run"), "vic-e2e")
	assert.True(t, has("vic-e2e"))
	pruned := m.image(t, "prune", "--all")
	assert.Contains(t, pruned, "vic-e2e")
	assert.NotContains(t, pruned, "library/used")

	fill(t, filepath.Join(disk, "more"), 30)
	m.waitEvents(t, "FreeDiskSpaceFailed")
	assert.True(t, has("library/used"), "a pod has it")
	assert.Equal(t, content, m.kubectl(t, "-n", ns, "exec", user.Name, "--", "sha256sum", "/more"))
	assert.Zero(t, restarts(m.waitReady(t, user)))

	require.NoError(t, os.Remove(filepath.Join(disk, "filler")))
	m.waitPhase(t, m.create(t, m.pod(ns, "again", "true", pulls(unused), restart(corev1.RestartPolicyNever))), corev1.PodSucceeded)
	assert.True(t, has("library/unused"))
}

// TestAFullDiskIsOutlived has a disk with 1 % left under a pull, a log and what containers write, and then some room.
func TestAFullDiskIsOutlived(t *testing.T) {
	t.Parallel()
	const lines = 60_000
	disk := smallDisk(t, 512)
	registry := startSlowRegistry(t)
	m := enlist(t, "full", disk, "insecureRegistries: ["+registry.Host+"]", "containerLogMaxSize: 64Mi")
	shared.nodeCredential(t, m.name, m.credential)
	m.importImage(t)
	m.begin(t)
	shared.approve(t, m.name)
	ns := shared.namespace(t)
	ref, held := registry.image(t, "library/wanted", noise(1, 48))

	var full atomic.Bool
	awaitGo, withHost := awaitOn(t, &full)
	logs := m.create(t, m.pod(ns, "logs", awaitGo+"/testpod count "+strconv.Itoa(lines)+" 100000; "+sleepForever, withHost))
	// What is on a tmpfs counts as the VM's memory: it is not much.
	scratch := m.create(t, m.pod(ns, "scratch", awaitGo+"dd if=/dev/urandom of=/big bs=1M count=16 && sync && echo written; "+sleepForever, withHost))
	pulled := m.create(t, m.pod(ns, "pulled", "sha256sum /more; "+sleepForever, pulls(ref)))
	logs, scratch = m.waitReady(t, logs), m.waitReady(t, scratch)
	<-held.asked
	filler := filepath.Join(disk, "filler")
	fill(t, filler, 1)
	close(held.free)
	full.Store(true)
	m.waitPod(t, pulled, "says that its image finds no room", func(p *corev1.Pod) bool {
		w := waiting(p)
		return w != nil && strings.Contains(w.Message, "no space left on device")
	})
	m.eventually(t, "the log's copy stops", func(context.Context) (bool, string) {
		return strings.Contains(m.out.String(), "append to the log of main"), m.out.String()
	})
	m.waitPod(t, scratch, "is unreachable, since its VM pauses", func(p *corev1.Pod) bool {
		return conditionOf(p, corev1.PodReady).Reason == "GuestUnreachable"
	})

	require.NoError(t, os.Remove(filler))
	var n numbers
	n.read(t, m.stream(t, logs, time.Time{}), lines)
	assert.Equal(t, lines, n.next, "no line is lost")
	m.eventually(t, "what was written is on the disk", func(context.Context) (bool, string) {
		out := m.log(t, scratch, corev1.PodLogOptions{})
		return strings.HasSuffix(out, "written\n"), out
	})
	for _, p := range []*corev1.Pod{logs, scratch, pulled} {
		assert.Zero(t, restarts(m.waitReady(t, p)), p.Name)
	}
}

// awaitOn is the beginning of a script that waits until the flag is set, and what its pod needs for that. It asks a server of
// the test's: an exec can't reach a VM whose disk is full.
func awaitOn(t *testing.T, flag *atomic.Bool) (script string, change func(*corev1.Pod)) {
	t.Helper()
	l, err := net.Listen("tcp4", ":0")
	require.NoError(t, err)
	server := &http.Server{ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !flag.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})}
	go func() { _ = server.Serve(l) }() // ends with Close
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return "until wget -q -O /dev/null http://$HOST:" + port + "/ 2>/dev/null; do sleep 1; done; ", func(p *corev1.Pod) {
		p.Spec.Containers[0].Env = append(p.Spec.Containers[0].Env, corev1.EnvVar{
			Name: "HOST", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.hostIP"}},
		})
	}
}

// waiting is why the first container waits, nil where it does not.
func waiting(p *corev1.Pod) *corev1.ContainerStateWaiting {
	if len(p.Status.ContainerStatuses) == 0 {
		return nil
	}
	return p.Status.ContainerStatuses[0].State.Waiting
}
