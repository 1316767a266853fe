package worker

import (
	"time"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/operations/plan"
	"github.com/virtual-kubelet/vic/portlayer"
)

// decide returns what is next. It has no side effect, and changes neither m nor v.
func decide(v *view, m memory) decision {
	d := &decider{v: v, m: m}
	next, wait := d.next()
	return decision{
		step: next, wait: wait, effects: d.effects, seeds: d.m.seeds,
		over: v.shutdown && !v.running() && next.name == "",
	}
}

// decider makes one decision.
type decider struct {
	v       *view
	m       memory
	effects []effect
}

// nothing is the step of a pod that waits for a change.
var nothing = step{}

// next returns the step, and when to look again where there is none.
func (d *decider) next() (step, time.Duration) {
	switch {
	case d.v.ending():
		d.dropLateImages()
		return d.tearDown(), 0
	case d.v.shutdown:
		d.dropLateImages()
		if d.v.running() {
			return d.stop(StopRequest{Grace: d.v.specGrace(), Reason: plan.StopReasonNodeShutdown, LogsWithin: logsWithin}), 0
		}
		return nothing, 0
	case !d.v.known:
		return nothing, 0
	case final(d.v.status.Phase), d.m.rejected != nil:
		d.dropLateImages()
		return d.settle(), 0
	case d.expired():
		d.dropLateImages()
		return d.expire(), 0
	case d.v.running():
		return d.run()
	}
	return d.boot()
}

// tearDown ends a pod for good.
func (d *decider) tearDown() step {
	switch d.v.state() {
	case portlayer.StateRunning:
		return d.stop(StopRequest{Grace: d.v.deletionGrace(), LogsWithin: logsWithin})
	case portlayer.StateCreated, portlayer.StateStopped:
		return step{name: stepRemove}
	case portlayer.StateRemoved:
	}
	if !d.v.gone {
		d.effects = append(d.effects, finish{})
		return nothing
	}
	return step{name: stepForget}
}

// settle leaves nothing running of a pod whose phase is final, and keeps what can still be asked of it.
func (d *decider) settle() step {
	switch d.v.state() {
	case portlayer.StateRunning:
		return d.stop(StopRequest{Grace: d.v.specGrace()})
	case portlayer.StateCreated:
		return step{name: stepRemove}
	case portlayer.StateStopped:
		if d.v.hasVolumes() {
			return step{name: stepRelease}
		}
	case portlayer.StateRemoved:
	}
	return nothing
}

// expired is true when the pod has been active for as long as it may, and has not ended before.
func (d *decider) expired() bool {
	deadline := d.v.deadline()
	return !deadline.IsZero() && !d.v.now.Before(deadline) && !plan.Finished(d.m.guest)
}

// expire ends a pod whose deadline has passed. It is final when nothing of it runs.
func (d *decider) expire() step {
	switch d.v.state() {
	case portlayer.StateRunning:
		return d.stop(StopRequest{Grace: d.v.specGrace(), Reason: wire.StopReasonDeadline})
	case portlayer.StateCreated:
		return step{name: stepRemove}
	case portlayer.StateStopped, portlayer.StateRemoved:
	}
	return nothing
}

// boot brings the VM of a pod that is to run one step nearer to running.
func (d *decider) boot() (step, time.Duration) {
	if d.v.state() != portlayer.StateCreated && (plan.Finished(d.m.guest) || d.allFinal()) {
		return nothing, 0
	}
	if d.v.state() == portlayer.StateRemoved && d.m.refused != nil {
		return nothing, 0
	}
	d.wantImages()
	if wait := d.v.until(d.m.record.RestartAt); wait > 0 {
		return nothing, wait
	}
	if d.v.state() == portlayer.StateRemoved {
		return step{name: stepCreate}, 0
	}
	here, all := d.v.imagesHere()
	switch {
	case !all && !d.v.host.HotAddDisk:
		return nothing, 0
	case !d.attached():
		return step{name: stepVolumes}, 0
	}
	return step{name: stepPowerOn, images: here}, 0
}

// run goes on with a VM that runs.
func (d *decider) run() (step, time.Duration) {
	g := d.v.guest()
	switch {
	case g == nil && !d.unconfigured():
		return step{name: stepGreet}, 0
	case g == nil || g.Phase == wire.PhaseWaiting:
		return d.configure()
	case g.Phase == wire.PhaseConfigured:
		d.wantImages()
		return d.containers(g)
	}
	req := StopRequest{Grace: d.v.specGrace(), Reason: g.StopReason}
	if g.StopReason == plan.StopReasonNodeShutdown {
		req.LogsWithin = logsWithin
	}
	return d.stop(req), 0
}

// configure gives a guest its plan, unless it has it and its snapshot is late.
func (d *decider) configure() (step, time.Duration) {
	d.wantImages()
	if late := d.v.until(d.m.configured.Add(snapshotWithin)); late > 0 {
		return nothing, late
	}
	if !d.attached() {
		return step{name: stepVolumes}, 0
	}
	return step{name: stepConfigure, boot: Boot{Seeds: d.nextSeeds(), StartTime: d.v.status.StartTime, Disks: d.m.disks}}, 0
}

// unconfigured is true when the guest of this boot has greeted and has no plan. The host keeps the last snapshot of the
// boot before until then, so that it is not lost.
func (d *decider) unconfigured() bool {
	return d.v.running() && !d.v.vm.Current && !d.m.greeted.IsZero() && d.m.greeted.Equal(d.v.vm.StartedAt)
}

// containers keeps the volumes current, and runs the containers that the guest does not have and whose images are here.
func (d *decider) containers(g *wire.Snapshot) (step, time.Duration) {
	var wait time.Duration
	var runs []ContainerRun
	for _, m := range plan.Members(d.v.pod) {
		img := d.v.image(m.Name)
		if img == nil || d.v.taken(m) || d.m.boot.taken[m.Name] == m.Revision() || !d.mayRun(m) {
			continue
		}
		if left := d.v.backoff(partRun + m.Name); left > 0 {
			wait = sooner(wait, left)
			continue
		}
		runs = append(runs, ContainerRun{Member: m, Image: *img})
	}
	deliver := false
	if len(plan.FileVolumes(d.v.pod)) > 0 {
		left := max(d.v.until(d.m.boot.delivery.DueIn(g.BootID)), d.v.backoff(partFiles))
		deliver, wait = left == 0, sooner(wait, left)
	}
	if !deliver && (len(runs) == 0 || !d.m.boot.delivery.Complete(d.v.pod, g.BootID)) {
		return nothing, wait
	}
	return step{name: stepContainers, runs: runs, deliver: deliver}, 0
}

// mayRun is true for a container that can be run. An ephemeral one waits for a pod that runs.
func (d *decider) mayRun(m plan.Member) bool {
	return m.Role != wire.RoleEphemeral || d.m.barred[m.Name] == nil && d.v.guest() != nil
}

// attached is true when the VM has the disks of all claims, and it is known which they are.
func (d *decider) attached() bool {
	for _, claim := range plan.Claims(d.v.pod) {
		if disk, known := d.m.disks[claim.Name]; !known || !d.v.hasDisk(disk.Serial) {
			return false
		}
	}
	return true
}

// stop is the step that ends the pod. A request that differs from the one before begins with what that has achieved.
func (d *decider) stop(req StopRequest) step {
	req.Idle = d.unconfigured()
	return step{name: stepStop, stop: req}
}

// nextSeeds returns what the next boot begins with, the same until it is configured.
func (d *decider) nextSeeds() []wire.Seed {
	if d.m.seeds == nil {
		d.m.seeds = plan.Seeds(d.v.pod, d.m.guest, d.v.status)
	}
	return d.m.seeds
}

// allFinal is true when no container would run in another boot.
func (d *decider) allFinal() bool {
	seeds := d.nextSeeds()
	for _, s := range seeds {
		if !s.Final {
			return false
		}
	}
	return len(seeds) > 0
}

// wantImages brings the images of all containers that the guest does not have.
func (d *decider) wantImages() {
	for _, m := range plan.Members(d.v.pod) {
		if _, asked := d.v.images[m.Name]; !asked && !d.v.taken(m) && d.mayRun(m) {
			d.effects = append(d.effects, wantImage{m.Container})
		}
	}
}

// dropLateImages gives up the images that are not here yet.
func (d *decider) dropLateImages() {
	for _, i := range d.v.images {
		if i.here == nil {
			d.effects = append(d.effects, dropLateImages{})
			return
		}
	}
}
