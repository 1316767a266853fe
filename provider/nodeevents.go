package provider

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"

	"github.com/virtual-kubelet/vic/portlayer"
)

// conditionReasons are the reasons of events for a condition that became True and that became False, the kubelet's
// (kubelet/nodestatus).
var conditionReasons = map[corev1.NodeConditionType][2]string{
	corev1.NodeReady:          {"NodeReady", "NodeNotReady"},
	corev1.NodeMemoryPressure: {"NodeHasInsufficientMemory", "NodeHasSufficientMemory"},
	corev1.NodeDiskPressure:   {"NodeHasDiskPressure", "NodeHasNoDiskPressure"},
	corev1.NodePIDPressure:    {"NodeHasInsufficientPID", "NodeHasSufficientPID"},
}

// nodeEvents makes events of what changes in a Node object, as a kubelet does. It is not safe for concurrent use.
type nodeEvents struct {
	recorder record.EventRecorder // nil for none
	node     string
	self     func() *corev1.Node // as the API server has it; nil while that is not known

	reported map[corev1.NodeConditionType]corev1.ConditionStatus
	rebooted string // boot to report
}

// starting says that this program has started.
func (e *nodeEvents) starting() { e.event(corev1.EventTypeNormal, "Starting", "vic is starting.") }

// adopt counts what a former run has reported as reported, and sees whether the host was started anew meanwhile.
func (e *nodeEvents) adopt(there *corev1.Node, bootID string) {
	e.reported = map[corev1.NodeConditionType]corev1.ConditionStatus{}
	for _, c := range there.Status.Conditions {
		e.reported[c.Type] = c.Status
	}
	if before := there.Status.NodeInfo.BootID; before != "" && bootID != "" && before != bootID {
		e.rebooted = bootID
	}
}

// report makes an event of every condition that is not as it was last reported.
func (e *nodeEvents) report(n *corev1.Node) {
	if e.rebooted != "" {
		e.event(corev1.EventTypeWarning, "Rebooted", fmt.Sprintf("Node %s has been rebooted, boot id: %s", e.node, e.rebooted))
		e.rebooted = ""
	}
	if e.reported == nil {
		e.reported = map[corev1.NodeConditionType]corev1.ConditionStatus{}
	}
	for _, c := range n.Status.Conditions {
		if c.Type == portlayer.ConditionVMsUnreadable {
			e.reportUnreadable(c)
			continue
		}
		reasons, ok := conditionReasons[c.Type]
		if !ok || e.reported[c.Type] == c.Status {
			continue
		}
		e.reported[c.Type] = c.Status
		reason := reasons[1]
		if c.Status == corev1.ConditionTrue {
			reason = reasons[0]
		}
		e.event(corev1.EventTypeNormal, reason, fmt.Sprintf("Node %s status is now: %s", e.node, reason))
	}
}

// reportUnreadable makes an event of VMs that can't be read, and of the end of that.
func (e *nodeEvents) reportUnreadable(c corev1.NodeCondition) {
	before := e.reported[c.Type]
	e.reported[c.Type] = c.Status
	switch {
	case c.Status == corev1.ConditionTrue && before != c.Status:
		e.event(corev1.EventTypeWarning, c.Reason, "Pods that ran before may wait: "+c.Message)
	case c.Status != corev1.ConditionTrue && before == corev1.ConditionTrue:
		e.event(corev1.EventTypeNormal, c.Reason, c.Message)
	}
}

// event records one beside the node.
func (e *nodeEvents) event(kind, reason, message string) {
	if e.recorder == nil {
		return
	}
	node := &corev1.ObjectReference{Kind: "Node", Name: e.node, UID: types.UID(e.node)} // as the kubelet has it before it is registered
	if self := e.self(); self != nil {
		node.UID = self.UID
	}
	e.recorder.Event(node, kind, reason, message)
}
