//go:build e2e && long

package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestChaosInShort is what TestChaos does for ten minutes.
func TestChaos(t *testing.T) {
	runChaos(t, chaosPlan{
		pods: 50, last: 10 * time.Minute, killEvery: 20 * time.Second, actEvery: 3 * time.Second, settle: 15 * time.Minute,
	})
}

func TestChaosInShort(t *testing.T) {
	t.Parallel()
	runChaos(t, chaosPlan{pods: 6, last: 25 * time.Second, killEvery: 7 * time.Second, actEvery: 700 * time.Millisecond, settle: patience})
}

// chaosPlan says how much chaos there is.
type chaosPlan struct {
	pods      int           // there are at most
	last      time.Duration // of the whole
	killEvery time.Duration // kill -9 of vic, give or take a third
	actEvery  time.Duration // a pod is created or deleted, on average
	settle    time.Duration // which the world may take afterwards
}

// chaos creates and deletes pods of one node at random, while its vic is killed again and again.
type chaos struct {
	chaosPlan
	node  *member
	ns    string
	rng   *rand.Rand
	pods  map[string]*chaosPod // by name, nil for none
	names []string
	seen  map[string]vm // the VMs before the last kill, by UID
	sum   chaosSummary
}

// chaosSummary is what a run says of itself.
type chaosSummary struct {
	created, forced, graceful, kills, adopted int
	longestStart                              time.Duration
}

func (s chaosSummary) String() string {
	return fmt.Sprintf("%d pods created, %d deleted by force and %d with grace, %d kills of vic, "+
		"a VM survived one %d times, longest start %s", s.created, s.forced, s.graceful, s.kills, s.adopted, s.longestStart)
}

// chaosPod is a pod that is there.
type chaosPod struct {
	*corev1.Pod
	kind chaosKind
}

// chaosKind is what a pod does and how that looks when all is calm.
type chaosKind struct {
	name   string
	script string
	change []func(*corev1.Pod)
	calm   func(*corev1.Pod) bool
	log    string // whole; empty for any
}

func chaosKinds() []chaosKind {
	succeeded := func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodSucceeded && exitCode(p) == 0 }
	failed := func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodFailed && exitCode(p) == 7 }
	calm := func(p *corev1.Pod) bool { return ready(p) && restarts(p) == 0 }
	waits := func(p *corev1.Pod) bool {
		return len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].State.Waiting != nil
	}
	image := func(name string, policy corev1.PullPolicy) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Spec.Containers[0].Image, p.Spec.Containers[0].ImagePullPolicy = name, policy
		}
	}
	return []chaosKind{
		{"sleeps", "echo begin; " + sleepForever, nil, calm, "begin\n"},
		{"stubborn", "trap '' TERM; echo begin; while :; do sleep 1; done", nil, calm, "begin\n"},
		{"pulls", "echo begin; " + sleepForever, []func(*corev1.Pod){image(registryImage, corev1.PullAlways)}, calm, "begin\n"},
		{"succeeds", "echo begin; sleep 3; echo end", []func(*corev1.Pod){restart(corev1.RestartPolicyNever)}, succeeded, "begin\nend\n"},
		{"fails", "echo begin; sleep 1; echo end; exit 7", []func(*corev1.Pod){restart(corev1.RestartPolicyNever)}, failed, "begin\nend\n"},
		{"volumes", "cat /etc/settings/colour; echo; " + sleepForever, []func(*corev1.Pod){withSettings}, calm, "green\n"},
		{"no-image", "", []func(*corev1.Pod){image("vic-e2e:absent", corev1.PullNever)}, waits, ""},
	}
}

func exitCode(p *corev1.Pod) int32 {
	if len(p.Status.ContainerStatuses) == 0 || p.Status.ContainerStatuses[0].State.Terminated == nil {
		return -1
	}
	return p.Status.ContainerStatuses[0].State.Terminated.ExitCode
}

func runChaos(t *testing.T, plan chaosPlan) {
	seed := chaosSeed(t)
	x := &chaos{
		chaosPlan: plan, rng: rand.New(rand.NewPCG(seed, 0)), pods: map[string]*chaosPod{}, seen: map[string]vm{},
		node: join(t, "chaos", "insecureRegistries: ["+registryHost()+"]"), ns: shared.namespace(t),
	}
	shared.kubectl(t, "-n", x.ns, "create", "configmap", "settings", "--from-literal=colour=green")
	before := x.warmUp(t)
	files, routines := x.node.openFiles(t), x.node.metric(t, x.node.name, "go_goroutines")
	for i := range plan.pods {
		x.names = append(x.names, fmt.Sprintf("chaos-%d", i))
	}
	defer func() { t.Logf("VIC_CHAOS_SEED=%d: %s", seed, x.sum) }()

	x.rage(t)
	x.fill(t)
	x.requireCalm(t)
	x.deleteAll(t)
	x.requireWorld(t, before)
	assert.LessOrEqual(t, x.node.openFiles(t), files+8, "files that vic has open")
	assert.LessOrEqual(t, x.node.metric(t, x.node.name, "go_goroutines"), routines+25, "goroutines of vic")
}

// chaosSeed is VIC_CHAOS_SEED, which repeats a run as far as chaos can be repeated, or another one each time.
func chaosSeed(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv("VIC_CHAOS_SEED")
	if text == "" {
		return rand.Uint64()
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	require.NoError(t, err, "VIC_CHAOS_SEED")
	return seed
}

// warmUp has every image on the node, and returns the world without pods.
func (x *chaos) warmUp(t *testing.T) world {
	t.Helper()
	var pods []*corev1.Pod
	for _, kind := range chaosKinds()[:3] {
		pods = append(pods, x.node.create(t, x.node.pod(x.ns, "warm-"+kind.name, kind.script, kind.change...)))
	}
	for _, p := range pods {
		x.node.waitReady(t, p)
	}
	for _, p := range pods {
		x.node.delete(t, p)
	}
	return x.node.look(t)
}

// rage is the chaos.
func (x *chaos) rage(t *testing.T) {
	t.Helper()
	end := time.After(x.last)
	kill := time.NewTimer(x.jitter(x.killEvery))
	act := time.NewTimer(0)
	for {
		select {
		case <-end:
			return
		case <-kill.C:
			x.kill(t)
			kill.Reset(x.jitter(x.killEvery))
		case <-act.C:
			x.act(t)
			act.Reset(x.jitter(x.actEvery))
		}
	}
}

// jitter is d, give or take a third.
func (x *chaos) jitter(d time.Duration) time.Duration {
	return d*2/3 + time.Duration(x.rng.Int64N(int64(d*2/3)))
}

// act creates a pod where there is none of that name, and deletes it otherwise: mostly by force, which lets the next one
// of that name begin while the VM of this one ends.
func (x *chaos) act(t *testing.T) {
	t.Helper()
	name := x.names[x.rng.IntN(len(x.names))]
	p := x.pods[name]
	if p == nil {
		x.create(t, name)
		return
	}
	grace := new(int64(0))
	if x.rng.IntN(10) < 3 {
		grace = new(int64(1 + x.rng.IntN(4)))
		x.sum.graceful++
	} else {
		x.sum.forced++
	}
	x.remove(t, p.Pod, grace)
	delete(x.pods, name)
}

// create makes a pod of some kind, unless the former one of that name is still there.
func (x *chaos) create(t *testing.T, name string) {
	t.Helper()
	kind := chaosKinds()[x.rng.IntN(len(chaosKinds()))]
	made, err := x.node.client.CoreV1().Pods(x.ns).Create(t.Context(), x.node.pod(x.ns, name, kind.script, kind.change...), metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return // its graceful deletion goes on
	}
	require.NoError(t, err)
	x.pods[name] = &chaosPod{made, kind}
	x.sum.created++
}

// fill sees to it that there are pods to compare the world with, whatever chance has left.
func (x *chaos) fill(t *testing.T) {
	t.Helper()
	for _, name := range x.names {
		if len(x.pods) < len(x.names)/2 && x.pods[name] == nil {
			x.create(t, name)
		}
	}
}

func (x *chaos) remove(t *testing.T, p *corev1.Pod, grace *int64) {
	t.Helper()
	x.answered(t, p.Name+" is deleted", func() error {
		err := x.node.client.CoreV1().Pods(x.ns).Delete(t.Context(), p.Name, metav1.DeleteOptions{
			GracePeriodSeconds: grace, Preconditions: metav1.NewUIDPreconditions(string(p.UID)),
		})
		if apierrors.IsNotFound(err) {
			return nil // it is gone already
		}
		return err
	})
}

// kill ends vic and starts it again, after it has seen that no VM changed its process since the kill before.
func (x *chaos) kill(t *testing.T) {
	t.Helper()
	x.note(t)
	x.node.kill()
	x.sum.kills++
	x.node.startNode(t, x.node.credential, x.node.config)
}

// note compares the VMs with those at the last kill, and keeps count.
func (x *chaos) note(t *testing.T) {
	t.Helper()
	now := map[string]vm{}
	for _, v := range x.node.vms(t) {
		now[v.UID] = v
		if former, ok := x.seen[v.UID]; ok && former.PID != 0 && v.PID != 0 {
			x.sum.adopted++
			assert.Equal(t, former.PID, v.PID, "pod VM %s (%s) was started anew", v.UID, v.Name)
		}
	}
	x.seen = now
	for _, p := range x.list(t) {
		if cond := podCondition(&p, corev1.PodReady); cond != nil && cond.Status == corev1.ConditionTrue {
			x.sum.longestStart = max(x.sum.longestStart, cond.LastTransitionTime.Sub(p.CreationTimestamp.Time))
		}
	}
}

// answered repeats a call that an API server on a machine full of VMs had no time for.
func (x *chaos) answered(t *testing.T, what string, call func() error) {
	t.Helper()
	x.node.settles(t, x.settle, what, func() (bool, string) {
		err := call()
		if apierrors.IsTimeout(err) || apierrors.IsServerTimeout(err) || apierrors.IsTooManyRequests(err) {
			return false, err.Error()
		}
		require.NoError(t, err)
		return true, ""
	})
}

func podCondition(p *corev1.Pod, kind corev1.PodConditionType) *corev1.PodCondition {
	for i := range p.Status.Conditions {
		if p.Status.Conditions[i].Type == kind {
			return &p.Status.Conditions[i]
		}
	}
	return nil
}

func (x *chaos) list(t *testing.T) []corev1.Pod {
	t.Helper()
	var list *corev1.PodList
	x.answered(t, "pods are listed", func() (err error) {
		list, err = x.node.client.CoreV1().Pods(x.ns).List(t.Context(), metav1.ListOptions{})
		return err
	})
	return list.Items
}

// requireCalm waits until the world equals the API: every pod is what its kind makes of it, and there is a VM of each pod
// that has one, and no other.
func (x *chaos) requireCalm(t *testing.T) {
	t.Helper()
	x.node.settles(t, x.settle, "every pod is as it should be", func() (bool, string) {
		var wrong []string
		var live int
		for _, p := range x.list(t) {
			if p.DeletionTimestamp != nil {
				wrong = append(wrong, p.Name+" is being deleted")
				continue
			}
			live++
			if kind := x.pods[p.Name].kind; !kind.calm(&p) {
				wrong = append(wrong, fmt.Sprintf("%s, which %s: %s %+v", p.Name, kind.name, p.Status.Phase, p.Status.ContainerStatuses))
			}
		}
		return len(wrong) == 0 && live == len(x.pods), strings.Join(wrong, "\n")
	})
	x.note(t)
	x.node.settles(t, x.settle, "there are the VMs of the pods and no others", func() (bool, string) {
		var seen []string
		for _, v := range x.node.vms(t) {
			seen = append(seen, v.UID+" "+v.Name+" "+v.State+" "+v.IP)
		}
		slices.Sort(seen)
		wanted := x.wanted(t)
		return slices.Equal(wanted, seen), fmt.Sprintf("%q, not %q", seen, wanted)
	})
	for name, p := range x.pods {
		if p.kind.log == "" {
			continue
		}
		// What was logged a moment ago may still be in the VM.
		x.node.settles(t, x.settle, "the log of "+name+", which "+p.kind.name+", is whole", func() (bool, string) {
			log, err := x.node.tryKubectl(t, "-n", x.ns, "logs", name)
			return err == nil && log == p.kind.log, log
		})
	}
}

// wanted names the VMs that the pods in the API should have.
func (x *chaos) wanted(t *testing.T) []string {
	t.Helper()
	var wanted []string
	for _, p := range x.list(t) {
		state := "running"
		if p.Status.Phase != corev1.PodRunning && p.Status.Phase != corev1.PodPending {
			state = "stopped"
		}
		wanted = append(wanted, string(p.UID)+" "+p.Name+" "+state+" "+p.Status.PodIP)
	}
	slices.Sort(wanted)
	return wanted
}

func (x *chaos) deleteAll(t *testing.T) {
	t.Helper()
	for _, p := range x.pods {
		x.remove(t, p.Pod, new(int64(x.rng.IntN(2))))
	}
	x.node.settles(t, x.settle, "every pod's object is gone", func() (bool, string) {
		list := x.list(t)
		return len(list) == 0, fmt.Sprintf("%d are left", len(list))
	})
}

// requireWorld waits until nothing is left of the pods.
func (x *chaos) requireWorld(t *testing.T, before world) {
	t.Helper()
	x.node.settles(t, x.settle, "nothing is left of the pods", func() (bool, string) {
		now := x.node.look(t)
		more, less := now.beyond(before), before.beyond(now)
		return len(more) == 0 && len(less) == 0, fmt.Sprintf("left: %q\nmissing: %q", more, less)
	})
}

// registryHost is where the test registry listens.
func registryHost() string {
	host, _, _ := strings.Cut(registryImage, "/")
	return host
}
