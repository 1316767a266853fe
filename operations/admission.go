package operations

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
	resourcehelper "k8s.io/component-helpers/resource"
	schedulinghelper "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/klog/v2"

	"github.com/virtual-kubelet/vic/internal/tracing"
	"github.com/virtual-kubelet/vic/operations/status"
	"github.com/virtual-kubelet/vic/operations/worker"
	"github.com/virtual-kubelet/vic/portlayer"
)

// CapacityHost says what the host has left.
type CapacityHost interface {
	Capacity(ctx context.Context) (portlayer.Capacity, error)
}

// AdmissionConfig is what an Admission works with.
type AdmissionConfig struct {
	Host CapacityHost
	// Node returns what pods may request of it.
	Node func() NodeFacts
	// Took is called with how long each admission took; nil is nowhere.
	Took func(time.Duration)
}

// Admission admits pods as a kubelet does, also those that no scheduler has seen: a pod must fit into what the node
// offers beside those that were admitted before. And the machine must have the memory: it keeps pods from being promised
// the same free memory, as what it admitted counts until the VM runs, and from then on the host counts it. It is safe for
// concurrent use.
type Admission struct {
	cfg AdmissionConfig

	mu       sync.Mutex // guards all below
	reserved map[string]int64
	admitted map[types.UID]corev1.ResourceList // what pods request, from their admission to their end
}

// NewAdmission returns an Admission that has admitted nothing.
func NewAdmission(cfg AdmissionConfig) *Admission {
	if cfg.Took == nil {
		cfg.Took = func(time.Duration) {}
	}
	return &Admission{cfg: cfg, reserved: map[string]int64{}, admitted: map[types.UID]corev1.ResourceList{}}
}

// Admit reserves what a pod requests, and memory for its VM, or returns a *worker.RejectionError. What the pod reserved before is
// replaced. ErrBusy for a pod that ran before while there are VMs that nobody can read: one of them may be its own.
func (a *Admission) Admit(ctx context.Context, pod *corev1.Pod, memoryBytes int64) (err error) {
	began := time.Now()
	ctx, end := tracing.Start(ctx, "admit pod")
	defer func() {
		end(err)
		a.cfg.Took(time.Since(began))
	}()
	node := a.cfg.Node()
	if err := mayRun(pod, node); err != nil {
		return err
	}
	c, err := a.cfg.Host.Capacity(ctx)
	if err != nil {
		return fmt.Errorf("read free memory: %w", err)
	}
	if len(c.Unreadable) > 0 && worker.EverRan(pod.Status) {
		return fmt.Errorf("the pod ran before, and its VM may be one of those that can't be read: %s: %w", strings.Join(c.Unreadable, ", "), portlayer.ErrBusy)
	}
	requests := requestsOf(pod)
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, before := a.admitted[pod.UID]; !before {
		if err := underPressure(pod, node.Pressures); err != nil {
			return err
		}
	}
	if err := a.fitsLocked(pod.UID, requests, node.Allocatable); err != nil {
		return err
	}
	free := c.FreeMemoryBytes
	for other, bytes := range a.reserved {
		if other != string(pod.UID) {
			free -= bytes
		}
	}
	if memoryBytes > free {
		return &worker.RejectionError{Reason: worker.ReasonOutOfMemory, Message: insufficient(corev1.ResourceMemory, memoryBytes, c.MemoryBytes-free, c.MemoryBytes)}
	}
	a.reserved[string(pod.UID)], a.admitted[pod.UID] = memoryBytes, requests
	return nil
}

// Adopt counts a pod that was admitted before this program started.
func (a *Admission) Adopt(pod *corev1.Pod) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.admitted[pod.UID] = requestsOf(pod)
}

// Release gives back the memory that a pod reserved: its VM runs and is counted by the host, or will not. Nothing reserved
// is not an error.
func (a *Admission) Release(uid string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.reserved, uid)
}

// Leave gives back all that a pod reserved, as it uses nothing any more. Nothing reserved is not an error.
func (a *Admission) Leave(uid types.UID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.reserved, string(uid))
	delete(a.admitted, uid)
}

// fitsLocked compares requests with what is left of allocatable, in the kubelet's order. What the node does not offer at
// all is not compared.
func (a *Admission) fitsLocked(uid types.UID, requests, allocatable corev1.ResourceList) error {
	for _, name := range []corev1.ResourceName{
		corev1.ResourcePods, corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage,
	} {
		offered, ok := allocatable[name]
		requested := amount(name, requests)
		if !ok || requested == 0 {
			continue
		}
		var used int64
		for other, list := range a.admitted {
			if other != uid {
				used += amount(name, list)
			}
		}
		if capacity := amount(name, corev1.ResourceList{name: offered}); used+requested > capacity {
			return &worker.RejectionError{Reason: "OutOf" + string(name), Message: insufficient(name, requested, used, capacity)}
		}
	}
	return nil
}

// mayRun checks what a scheduler would have checked of the node itself.
func mayRun(pod *corev1.Pod, node NodeFacts) error {
	if node.Object == nil {
		return nil
	}
	noExecute := func(t *corev1.Taint) bool { return t.Effect == corev1.TaintEffectNoExecute }
	taint, untolerated := schedulinghelper.FindMatchingUntoleratedTaint(klog.Background(), node.Object.Spec.Taints, pod.Spec.Tolerations, noExecute, true)
	if untolerated {
		return &worker.RejectionError{
			Reason:  "TaintToleration",
			Message: "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate: " + taint.ToString(),
		}
	}
	if match, err := nodeaffinity.GetRequiredNodeAffinity(pod).Match(node.Object); err != nil || !match {
		return &worker.RejectionError{
			Reason:  "NodeAffinity",
			Message: "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
		}
	}
	return nil
}

// underPressure keeps new pods from a node that is short of something, as a kubelet does (kubelet/eviction, Admit): a
// critical pod may come all the same, and where memory alone is short one that requests what it needs or tolerates it.
func underPressure(pod *corev1.Pod, pressures []corev1.NodeConditionType) error {
	if len(pressures) == 0 || pod.Spec.Priority != nil && *pod.Spec.Priority >= systemCriticalPriority {
		return nil
	}
	if len(pressures) == 1 && pressures[0] == corev1.NodeMemoryPressure {
		taint := &corev1.Taint{Key: corev1.TaintNodeMemoryPressure, Effect: corev1.TaintEffectNoSchedule}
		if status.QOSClass(pod) != corev1.PodQOSBestEffort ||
			schedulinghelper.TolerationsTolerateTaint(klog.Background(), pod.Spec.Tolerations, taint, true) {
			return nil
		}
	}
	return &worker.RejectionError{Reason: "Evicted", Message: fmt.Sprintf("The node had condition: %v. ", pressures)}
}

// systemCriticalPriority is that of the class system-cluster-critical, above all that users may give.
const systemCriticalPriority = 2_000_000_000

// onePod is what a pod takes of a node's room for pods.
var onePod = *resource.NewQuantity(1, resource.DecimalSI)

// requestsOf is what the pod requests in all, itself counted.
func requestsOf(pod *corev1.Pod) corev1.ResourceList {
	requests := resourcehelper.PodRequests(pod, resourcehelper.PodResourcesOptions{})
	requests[corev1.ResourcePods] = onePod
	return requests
}

// amount is a quantity as the kubelet counts it.
func amount(name corev1.ResourceName, list corev1.ResourceList) int64 {
	q := list[name]
	if name == corev1.ResourceCPU {
		return q.MilliValue()
	}
	return q.Value()
}

// insufficient says it as a kubelet does (kubelet/lifecycle, InsufficientResourceError).
func insufficient(name corev1.ResourceName, requested, used, capacity int64) string {
	return fmt.Sprintf("Node didn't have enough resource: %s, requested: %d, used: %d, capacity: %d", name, requested, used, capacity)
}
