// Package operations makes pod VMs of pods. It is the only package that knows both a pod and a pod VM.
//
// A [Manager] has one worker for each pod UID. A worker is level-driven: whenever anything changes (the pod, its VM, its
// guest, an image, a time that is due) it looks at all three (what is desired, what the host holds, what the guest says)
// and does the one step that is next. Nothing is remembered that a restart of the program may not lose: the same look
// leads to the same step. A step that fails is tried again, later each time, and what is wrong is shown as the reason for
// which the containers wait, and as an event; a pod is failed for good only where a kubelet would.
//
// The steps are done by units, each of which may be called twice:
//
//   - [PodCreator]: admit the pod, draft its VM, commit: a VM exists, powered off.
//   - [PodVolumes]: attach the disks of its claims, before it is started; detach them when the pod is final.
//   - [PodStarter]: power it on, configure its guest, deliver its files, run its containers as their images come.
//   - [PodStopper]: end the containers within their grace period, power off.
//   - [PodDeleter]: remove the VM, and what is kept of it once the pod's object is gone.
//
// Only workers call units. Beside the workers, [Images] brings images to this machine, and the collector removes the VMs
// that no pod stands behind. All deadlines are in this package, in deadlines.go.
//
//	m := operations.New(cfg)
//	go m.Run(ctx)
//	m.Sync(pod) // returns at once
package operations
