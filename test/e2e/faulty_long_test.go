//go:build e2e && long

package e2e_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// faulty is a node that faults are done to: its way to the API server can be shut, and its registry is slow.
type faulty struct {
	*member
	api      *door
	registry *slowRegistry
	ns       string
	before   world
}

// joinFaulty starts such a node. When the test has passed, nothing is left of its pods.
func joinFaulty(t *testing.T, name string, settings ...string) *faulty {
	t.Helper()
	f := &faulty{registry: startSlowRegistry(t), ns: shared.namespace(t)}
	f.member = enlist(t, name, t.TempDir(), append(settings, "insecureRegistries: ["+f.registry.Host+"]")...)
	shared.nodeCredential(t, name, f.credential)
	f.api = openDoor(t, f.credential)
	f.importImage(t)
	f.begin(t)
	shared.approve(t, name)
	warm := f.waitReady(t, f.create(t, f.pod(f.ns, "warm", sleepForever)))
	f.delete(t, warm)
	f.before = f.look(t)
	return f
}

// requireNothingLeft waits until the machine is as it was before the first pod, but for images.
func (f *faulty) requireNothingLeft(t *testing.T) {
	t.Helper()
	f.settles(t, patience, "nothing is left of the pods", func() (bool, string) {
		var left []string
		for _, name := range f.look(t).beyond(f.before) {
			if !strings.Contains(name, "images/") && !strings.Contains(name, " vch/disks/") {
				left = append(left, name)
			}
		}
		return len(left) == 0, fmt.Sprintf("%q", left)
	})
}

// force deletes a pod at once, whatever its node says.
func (f *faulty) force(t *testing.T, p *corev1.Pod) {
	t.Helper()
	err := f.client.CoreV1().Pods(p.Namespace).Delete(t.Context(), p.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))})
	require.NoError(t, err)
}

// waitVM waits until the pod has a VM of which is holds.
func (f *faulty) waitVM(t *testing.T, p *corev1.Pod, what string, is func(vm) bool) vm {
	t.Helper()
	var got vm
	f.eventually(t, "the VM of "+p.Name+" "+what, func(context.Context) (bool, string) {
		var ok bool
		got, ok = f.vm(t, p)
		return ok && is(got), fmt.Sprintf("%+v", got)
	})
	return got
}

func runs(v vm) bool { return v.State == "running" && v.PID != 0 }

// waitEvent waits for an event of the pod that says all of that.
func (f *faulty) waitEvent(t *testing.T, p *corev1.Pod, reason string, says ...string) {
	t.Helper()
	f.eventually(t, "event "+reason, func(ctx context.Context) (bool, string) {
		events, err := f.client.CoreV1().Events(p.Namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.uid=" + string(p.UID)})
		require.NoError(t, err)
		var seen strings.Builder
		for _, e := range events.Items {
			all := e.Reason == reason
			for _, word := range says {
				all = all && strings.Contains(e.Message, word)
			}
			if all {
				return true, ""
			}
			seen.WriteString(e.Reason + ": " + e.Message + "\n")
		}
		return false, seen.String()
	})
}

// restarted is kill -9 of vic, and another one that goes on.
func (f *faulty) restarted(t *testing.T) {
	t.Helper()
	f.kill()
	f.begin(t)
}

func pulls(ref string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.Containers[0].Image = ref }
}

// TestFaults does to one node what machines, networks and people do.
func TestFaults(t *testing.T) {
	t.Parallel()
	f := joinFaulty(t, "faults")
	for name, fault := range map[string]func(*testing.T, *faulty){
		"vic dies while two pods pull one image":                   pullersSurvive,
		"pods are deleted while they begin":                        deletedWhileTheyBegin,
		"a pod comes back under its name while its former VM ends": comesBackUnderItsName,
		"a guest's kernel panics":                                  kernelPanics,
		"the API server is away while pods end, go and come":       func(t *testing.T, f *faulty) { t.Helper(); apiAway(t, f, 15*time.Second) },
	} {
		t.Run(name, func(t *testing.T) { fault(t, f) })
	}
	f.requireNothingLeft(t)
}

func pullersSurvive(t *testing.T, f *faulty) {
	ref, held := f.registry.image(t, "library/two", []byte("two"))
	pods := []*corev1.Pod{
		f.create(t, f.pod(f.ns, "pull-1", sleepForever, pulls(ref))), f.create(t, f.pod(f.ns, "pull-2", sleepForever, pulls(ref))),
	}
	<-held.asked
	for _, p := range pods {
		f.waitEvent(t, p, "Pulling")
	}
	f.restarted(t)
	close(held.free)
	for _, p := range pods {
		p = f.waitReady(t, p)
		assert.Zero(t, restarts(p))
	}
	out, err := f.vic("image", "ls", "--dir", f.dir, "-o", "json").Output()
	require.NoError(t, err)
	assert.Equal(t, 1, strings.Count(string(out), ref), "%s", out)
	for _, p := range pods {
		f.force(t, p)
	}
	for _, p := range pods {
		f.waitGone(t, p)
	}
}

func deletedWhileTheyBegin(t *testing.T, f *faulty) {
	ref, held := f.registry.image(t, "library/never", []byte("never"))
	defer close(held.free)
	pulling := f.create(t, f.pod(f.ns, "pulling", sleepForever, pulls(ref)))
	<-held.asked
	f.delete(t, pulling)

	booting := f.create(t, f.pod(f.ns, "booting", sleepForever))
	v := f.waitVM(t, booting, "runs", runs)
	// It can't greet any more, nor hear that it is to end.
	require.NoError(t, syscall.Kill(v.PID, syscall.SIGSTOP))
	f.delete(t, booting)
	requireNoProcess(t, v.PID)

	for i := range 3 { // at no chosen moment, and with the object gone before all else
		p := f.create(t, f.pod(f.ns, fmt.Sprintf("moment-%d", i), sleepForever))
		f.atLeast(t, time.Duration(i)*150*time.Millisecond)
		f.force(t, p)
		f.waitGone(t, p)
	}
}

func comesBackUnderItsName(t *testing.T, f *faulty) {
	set := f.pod(f.ns, "", "echo $HOSTNAME; trap '' TERM; "+sleepForever)
	labels := map[string]string{"app": "db"}
	sets := f.client.AppsV1().StatefulSets(f.ns)
	_, err := sets.Create(t.Context(), &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: "db"},
		Spec: appsv1.StatefulSetSpec{
			Replicas: new(int32(1)), Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: set.Spec},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	name := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: "db-0"}}
	former := f.waitReady(t, name)
	old := f.waitVM(t, former, "runs", runs)
	// A QEMU that does nothing for a while makes the end of its VM a long one.
	require.NoError(t, syscall.Kill(old.PID, syscall.SIGSTOP))
	f.force(t, former)
	next := f.waitPod(t, name, "is another one", func(p *corev1.Pod) bool { return p.UID != former.UID })
	f.waitVM(t, next, "is there", func(vm) bool { return true })
	_, both := f.vm(t, former)
	assert.True(t, both, "the former VM still ends")
	next = f.waitReady(t, next)
	assert.NotEqual(t, former.Status.PodIP, next.Status.PodIP)
	f.eventually(t, "the log of the next pod alone", func(context.Context) (bool, string) {
		log := f.kubectl(t, "-n", f.ns, "logs", "db-0")
		return log == "db-0\n", log
	})
	f.eventually(t, "the former VM is gone", func(context.Context) (bool, string) {
		v, there := f.vm(t, former)
		return !there, v.State
	})
	requireNoProcess(t, old.PID)
	assert.Equal(t, "alive\n", f.kubectl(t, "-n", f.ns, "exec", "db-0", "--", "echo", "alive"))
	assert.Zero(t, restarts(f.waitReady(t, next)))
	require.NoError(t, sets.Delete(t.Context(), "db", metav1.DeleteOptions{}))
	f.waitGone(t, next)
}

func kernelPanics(t *testing.T, f *faulty) {
	p := f.waitReady(t, f.create(t, f.pod(f.ns, "panics", "echo up; "+sleepForever, func(p *corev1.Pod) {
		p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: new(true)}
	})))
	require.Equal(t, "up", next(t, f.follow(t, p)))
	before := f.waitVM(t, p, "runs", runs)
	_, err := f.tryKubectl(t, "-n", f.ns, "exec", "panics", "--", "/bin/sh", "-c", "echo c > /proc/sysrq-trigger")
	require.Error(t, err)
	p = f.waitPod(t, p, "runs again", func(p *corev1.Pod) bool { return restarts(p) == 1 && ready(p) })
	f.waitEvent(t, p, "PodVMEnded", "kernel panicked", "sysrq triggered crash")
	last := p.Status.ContainerStatuses[0].LastTerminationState.Terminated
	require.NotNil(t, last)
	assert.Contains(t, last.Message, "kernel panicked")
	assert.Equal(t, "up\n", f.kubectl(t, "-n", f.ns, "logs", "-p", "panics"))
	requireNoProcess(t, before.PID)
	f.delete(t, p)
}

// apiAway has the API server away for that long, while pods end by themselves, are forced away and come back under their
// names, none of which the node hears of.
func apiAway(t *testing.T, f *faulty, away time.Duration) {
	t.Helper()
	patient := func(p *corev1.Pod) { // no controller takes it from a node that is not heard of
		p.Spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
	}
	stays := f.create(t, f.pod(f.ns, "stays", countLines, patient))
	var isAway atomic.Bool
	awaitAway, withHost := awaitOn(t, &isAway)
	ends := f.create(t, f.pod(f.ns, "ends", "echo begin; "+awaitAway+"exit 3", patient, withHost, restart(corev1.RestartPolicyNever)))
	goes := f.create(t, f.pod(f.ns, "goes", sleepForever, patient))
	comes := f.create(t, f.pod(f.ns, "comes", sleepForever, patient))
	for _, p := range []*corev1.Pod{stays, ends, goes, comes} {
		f.waitReady(t, p)
	}
	staying := f.waitVM(t, stays, "runs", runs)
	f.api.set(true)
	isAway.Store(true)
	shut := time.Now()
	f.force(t, goes)
	f.force(t, comes)
	again := f.create(t, f.pod(f.ns, "comes", sleepForever, patient))
	f.waitVM(t, ends, "has ended", func(v vm) bool { return v.State == "stopped" })
	f.atLeast(t, away-time.Since(shut))
	kept := f.waitVM(t, goes, "is still there, as nobody has reported its end", runs)
	require.NoError(t, syscall.Kill(kept.PID, 0))
	seen, err := f.client.CoreV1().Pods(f.ns).Get(t.Context(), "ends", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, corev1.PodRunning, seen.Status.Phase, "the API server was informed")
	opened := time.Now()
	f.api.set(false)

	done := f.waitPhase(t, ends, corev1.PodFailed)
	end := done.Status.ContainerStatuses[0].State.Terminated
	require.NotNil(t, end)
	assert.EqualValues(t, 3, end.ExitCode)
	assert.True(t, end.FinishedAt.Time.Before(opened), "it says when that was: %s", end.FinishedAt)
	assert.Equal(t, "begin\n", f.kubectl(t, "-n", f.ns, "logs", "ends"))
	f.waitGone(t, goes)
	f.waitGone(t, comes)
	again = f.waitReady(t, again)
	stays = f.waitReady(t, stays)
	assert.Zero(t, restarts(stays))
	assert.Equal(t, staying.PID, f.waitVM(t, stays, "runs", runs).PID)
	f.requireCounts(t, stays, int(away/time.Second))
	for _, p := range []*corev1.Pod{stays, done, again} {
		f.force(t, p)
	}
	for _, p := range []*corev1.Pod{stays, done, again} {
		f.waitGone(t, p)
	}
}
