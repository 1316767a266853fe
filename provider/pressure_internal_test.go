package provider

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/record"

	"github.com/virtual-kubelet/vic/portlayer"
)

// diskPressure is the capacity of a VCH whose disk is full or not.
func diskPressure(is bool) portlayer.Capacity {
	return portlayer.Capacity{Conditions: []portlayer.Condition{{Type: "DiskPressure", True: is, Reason: "Said", Message: "m"}}}
}

func TestPressureIsKept(t *testing.T) {
	hold := pressureHold{keep: time.Minute}
	at := func(second int64, is bool) bool {
		return hold.apply(diskPressure(is).Conditions, time.Unix(second, 0))[0].True
	}
	assert.False(t, at(0, false), "none was seen")
	assert.True(t, at(10, true))
	assert.True(t, at(69, false), "it is kept for a minute")
	assert.False(t, at(70, false), "and no longer")
	assert.True(t, at(80, true))
	assert.True(t, at(120, true))
	assert.True(t, at(179, false), "the minute begins when it was seen last")
	assert.False(t, at(180, false))

	unready := []portlayer.Condition{{Type: "Ready", True: true}}
	assert.Equal(t, unready, hold.apply(unready, time.Unix(200, 0)), "what is not a pressure is as it is")
}

func TestPressuresKeepPodsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := &vch{capacity: diskPressure(true)}
		r := newReporter(fake.NewClientset(), host)
		r.hold.keep = time.Minute
		assert.Empty(t, r.pressures(), "nothing was seen yet")
		r.observe(t.Context())
		assert.Equal(t, []corev1.NodeConditionType{corev1.NodeDiskPressure}, r.pressures())
		host.set(diskPressure(false), nil)
		r.observe(t.Context())
		assert.Equal(t, []corev1.NodeConditionType{corev1.NodeDiskPressure}, r.pressures(), "as the node reports it")
		<-time.After(time.Minute)
		n, _ := r.observe(t.Context())
		assert.Empty(t, r.pressures())
		assert.Equal(t, corev1.ConditionFalse, conditionOf(t, n, corev1.NodeDiskPressure).Status)
	})
}

// hanging answers when it is let go, whatever the context.
type hanging struct {
	asked chan struct{}
	let   chan struct{}
}

func (h *hanging) Capacity(context.Context) (portlayer.Capacity, error) {
	h.asked <- struct{}{}
	<-h.let
	return portlayer.Capacity{Pods: 1}, nil
}

func TestAVCHThatHangsIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := &hanging{asked: make(chan struct{}, 10), let: make(chan struct{})}
		r := newReporter(fake.NewClientset(), host)
		r.health = health{ready: true, reason: "Up"}
		for range 3 {
			n, _ := r.observe(t.Context())
			c := conditionOf(t, n, corev1.NodeReady)
			require.Equal(t, corev1.ConditionFalse, c.Status)
			require.Equal(t, "VCHUnreachable", c.Reason)
			require.Contains(t, c.Message, "does not answer")
		}
		require.Len(t, host.asked, 1, "it is asked once, and waited for")
		close(host.let)
		synctest.Wait()
		n, _ := r.observe(t.Context())
		assert.Equal(t, corev1.ConditionTrue, conditionOf(t, n, corev1.NodeReady).Status)
		assert.Equal(t, int64(1), n.Status.Capacity.Pods().Value())
	})
}

// eventsOf returns what was recorded since the last call.
func eventsOf(r *record.FakeRecorder) []string {
	var all []string
	for {
		select {
		case e := <-r.Events:
			all = append(all, e)
		default:
			return all
		}
	}
}

// unknown is a node that the API server does not have yet.
func unknown() *corev1.Node { return nil }

// references keeps what events are about.
type references struct {
	record.EventRecorder
	uids []types.UID
}

func (r *references) Event(about runtime.Object, _, _, _ string) {
	r.uids = append(r.uids, about.(*corev1.ObjectReference).UID)
}

func TestAnEventOfTheNodeHasTheNodesUID(t *testing.T) {
	var self *corev1.Node
	recorder := &references{}
	e := nodeEvents{recorder: recorder, node: "v", self: func() *corev1.Node { return self }}
	e.starting()
	self = &corev1.Node{ObjectMeta: metav1.ObjectMeta{UID: "u1"}}
	e.starting()
	require.Equal(t, []types.UID{"v", "u1"}, recorder.uids, "its name as long as it has no UID")
}

func TestNodeEvents(t *testing.T) {
	recorder := record.NewFakeRecorder(20)
	e := nodeEvents{recorder: recorder, node: "v", self: unknown}
	object := func(ready, disk bool, boot string) *corev1.Node {
		n := nodeObject("v", &Description{BootID: boot}, 1, observation{diskPressure(disk), health{ready: ready}, time.Now()})
		return n
	}
	e.starting()
	e.report(object(true, false, "b1"))
	assert.Equal(t, []string{
		"Normal Starting vic is starting.",
		"Normal NodeHasSufficientMemory Node v status is now: NodeHasSufficientMemory",
		"Normal NodeHasNoDiskPressure Node v status is now: NodeHasNoDiskPressure",
		"Normal NodeHasSufficientPID Node v status is now: NodeHasSufficientPID",
		"Normal NodeReady Node v status is now: NodeReady",
	}, eventsOf(recorder), "a new node reports everything")
	e.report(object(true, false, "b1"))
	assert.Empty(t, eventsOf(recorder), "what was reported is not reported again")
	e.report(object(false, true, "b1"))
	assert.Equal(t, []string{
		"Normal NodeHasDiskPressure Node v status is now: NodeHasDiskPressure",
		"Normal NodeNotReady Node v status is now: NodeNotReady",
	}, eventsOf(recorder))

	again := nodeEvents{recorder: recorder, node: "v", self: unknown}
	again.adopt(object(false, true, "b1"), "b1")
	again.report(object(true, true, "b1"))
	assert.Equal(t, []string{"Normal NodeReady Node v status is now: NodeReady"}, eventsOf(recorder), "a former run has reported the rest")

	again.adopt(object(true, true, "b1"), "b2")
	again.report(object(true, true, "b2"))
	again.report(object(true, true, "b2"))
	assert.Equal(t, []string{"Warning Rebooted Node v has been rebooted, boot id: b2"}, eventsOf(recorder))
}

func TestVMsThatCannotBeReadAreAnEventOfTheNode(t *testing.T) {
	recorder := record.NewFakeRecorder(20)
	e := nodeEvents{recorder: recorder, node: "v", self: unknown}
	object := func(unreadable bool, message string) *corev1.Node {
		said := portlayer.Condition{Type: portlayer.ConditionVMsUnreadable, True: unreadable, Reason: "Reason", Message: message}
		return nodeObject("v", &Description{}, 1, observation{portlayer.Capacity{Conditions: []portlayer.Condition{said}}, health{ready: true}, time.Now()})
	}
	e.report(object(false, "all well"))
	assert.Len(t, eventsOf(recorder), 4, "of what all nodes report")
	for range 2 {
		e.report(object(true, "vm-12 is away"))
	}
	assert.Equal(t, []string{"Warning Reason Pods that ran before may wait: vm-12 is away"}, eventsOf(recorder))
	e.report(object(false, "all well"))
	assert.Equal(t, []string{"Normal Reason all well"}, eventsOf(recorder))
}
