package operations

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/operations/worker"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
)

const (
	// RemoveAnnotation of a Node gives up the VMs whose removal waits; its value is the one that the condition names.
	RemoveAnnotation = "vic.virtual-kubelet.io/remove-vms-without-pods"
	// ConditionVMsWithoutPods is the type of the Node's condition that says that VMs wait for that.
	ConditionVMsWithoutPods = "VMsWithoutPods"

	reasonHeld, reasonNone = "RemovalWaits", "NoneWaits"

	// fewOrphans may go in any case: pods that were deleted by force while the node was away.
	fewOrphans = 3
)

// orphans are the VMs of the node that have no pod. When the first complete list of pods leaves more than half of the VMs whose
// pods have not finished without one, and more than fewOrphans, it is likelier that the list is wrong (another cluster, a backup) than that they
// are wanted no more: they are held until an administrator says so, or their pods are back.
type orphans struct {
	known   map[types.UID]worker.Orphan
	counted bool // the first complete list was looked at
}

// see takes the VMs of the node after a complete list of pods. It returns what to keep of those whose state has changed.
func (o *orphans) see(vms []podvm.VM, wanted func(types.UID) bool, approved string, now time.Time) map[types.UID][]byte {
	found := map[types.UID][]byte{}
	var working int          // VMs whose pods have not finished
	var unwanted []types.UID // of these
	for _, vm := range vms {
		uid, works := types.UID(vm.Spec.Owner.UID), isWorking(vm)
		if works {
			working++
		}
		if wanted(uid) {
			continue
		}
		found[uid] = vm.Record
		if works {
			unwanted = append(unwanted, uid)
		}
	}
	maps.DeleteFunc(o.known, func(uid types.UID, _ worker.Orphan) bool { _, ok := found[uid]; return !ok })
	before := map[types.UID]worker.Orphan{}
	for uid, record := range found {
		before[uid] = worker.ReadOrphan(record)
		if _, ok := o.known[uid]; !ok {
			o.known[uid] = before[uid].At(now)
		}
	}
	if !o.counted && len(unwanted) > fewOrphans && 2*len(unwanted) > working {
		o.hold(unwanted, true)
	}
	o.counted = true
	if approved != "" && approved == o.approval() {
		o.hold(slices.Collect(maps.Keys(o.known)), false)
	}
	changed := map[types.UID][]byte{}
	for uid, orphan := range o.known {
		if text := orphan.KeepIn(found[uid]); orphan != before[uid] && text != nil {
			changed[uid] = text
		}
	}
	return changed
}

// isWorking is true unless all that its pod had to do is done, or the VM is gone: a finished pod may be deleted at any time.
func isWorking(vm podvm.VM) bool {
	done := vm.Guest != nil && vm.Guest.Phase == wire.PhaseDone
	return vm.State != portlayer.StateRemoved && !done
}

func (o *orphans) hold(which []types.UID, held bool) {
	for _, uid := range which {
		orphan := o.known[uid]
		orphan.Held = held
		o.known[uid] = orphan
	}
}

// over returns those that nothing holds and whose grace time is over.
func (o *orphans) over(grace time.Duration, now time.Time) []types.UID {
	var over []types.UID
	for uid, orphan := range o.known {
		if !orphan.Held && now.Sub(orphan.Since) >= grace {
			over = append(over, uid)
		}
	}
	return over
}

func (o *orphans) held() []string {
	var held []string
	for uid, orphan := range o.known {
		if orphan.Held {
			held = append(held, string(uid))
		}
	}
	slices.Sort(held)
	return held
}

// approval is what RemoveAnnotation must say to give up the VMs that are held: their number and a digest of which they are,
// so that what was meant for some is never taken for others. It is empty while none is held.
func (o *orphans) approval() string {
	held := o.held()
	if len(held) == 0 {
		return ""
	}
	digest := sha256.New()
	for _, uid := range held {
		_, _ = fmt.Fprintln(digest, uid) // a hash takes everything
	}
	return fmt.Sprintf("%d-%s", len(held), hex.EncodeToString(digest.Sum(nil)[:4]))
}

// condition is what the Node says of VMs that are held.
func (o *orphans) condition(node string) portlayer.Condition {
	c := portlayer.Condition{Type: ConditionVMsWithoutPods, Reason: reasonNone, Message: "no pod VM waits for its removal"}
	if approval := o.approval(); approval != "" {
		c.True, c.Reason = true, reasonHeld
		c.Message = fmt.Sprintf("%d pod VMs of the node had no pod in the first list of all pods, and were most of its VMs. They are kept until their "+
			"pods are back. To remove them: kubectl annotate --overwrite node %s %s=%s", len(o.held()), node, RemoveAnnotation, approval)
	}
	return c
}
