package worker

import (
	"crypto/sha256"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/operations/plan"
)

// memory is what a worker remembers from one look to the next. All of it may be lost with the program: the record is kept
// beside the VM, and the rest only saves work and events.
type memory struct {
	pod      *corev1.Pod      // of the last look
	refused  error            // why pod can't run on this host
	rejected error            // why it was not admitted
	barred   map[string]error // why ephemeral containers can't run on this host

	record   record
	recalled bool // record has what a former run of the program kept

	boot  boot           // that runs
	guest *wire.Snapshot // the last one that was seen, of whatever boot
	// greeted is when the VM was started whose guest has greeted.
	greeted time.Time
	// configured is when a guest took its plan whose snapshot may come later.
	configured time.Time
	// disks are those of the pod's claims, by volume.
	disks map[string]plan.Disk
	// releases is desired.releases as it was last seen.
	releases int
	// seeds are what the next boot begins with; nil: that is not decided yet.
	seeds []wire.Seed
	// silence is since when the guest has been unreachable that was reported last.
	silence time.Time
}

// boot is what is remembered of the boot that runs.
type boot struct {
	id string
	// taken are the revisions of the containers that the guest took, perhaps before its snapshot shows them.
	taken    map[string]string
	delivery Delivery
	stopping Stopping
	// events is the sequence number of the guest's last event that was relayed.
	events uint64
}

// StopRequest says how a pod ends.
type StopRequest struct {
	// Grace is what the containers get between TERM and KILL, counted from the first request; a shorter one later holds.
	Grace time.Duration
	// Reason is kept with the guest's last snapshot.
	Reason string
	// LogsWithin bounds the wait for the end of the logs; 0 waits as long as it takes.
	LogsWithin time.Duration
	// Idle says that no container runs in the VM, whatever its last snapshot says.
	Idle bool
}

// Stopping is how far the stop of one VM is. The zero value is one that was not begun. A lost one only means that the
// guest is asked again.
type Stopping struct {
	// Asked is true when the guest has the request.
	Asked bool
	// Until is when the grace period ends; zero before the first request.
	Until time.Time
	// Done is when every container was seen to be final.
	Done time.Time
}

// Delivery is what a guest has of its pod's volumes. The zero value is nothing; a lost one only means that the files are
// delivered again.
type Delivery struct {
	BootID string
	// Sums are of what the guest has, by volume.
	Sums map[string][sha256.Size]byte
	// Due is when to look at all of them again.
	Due time.Time
}

// Complete is true when the guest of that boot has every volume of pod.
func (d *Delivery) Complete(pod *corev1.Pod, bootID string) bool {
	want := len(plan.FileVolumes(pod))
	return want == 0 || d.BootID == bootID && len(d.Sums) == want
}

// DueIn returns when to deliver the volumes again to the guest of that boot; zero means at once.
func (d *Delivery) DueIn(bootID string) time.Time {
	if d.BootID != bootID {
		return time.Time{}
	}
	return d.Due
}
