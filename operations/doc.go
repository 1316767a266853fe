// Package operations makes pod VMs of pods. It is the only package that knows both a pod and a pod VM.
//
// A [Manager] has one worker for each pod UID (package worker). A worker is level-driven: whenever anything changes (the pod,
// its VM, its guest, an image, a time that is due) it looks at all of that and does the one step that is next. It remembers
// only what a restart of the program may lose: the same look leads to the same step. It tries a failed step again, later each
// time, and shows what is wrong as the reason why the containers wait, and as an event. A pod fails for good only where a
// kubelet would fail it.
//
// The steps are done by units, each of which may be called twice:
//
//   - [PodCreator]: admit the pod, draft its VM, commit: a VM exists, powered off.
//   - [PodVolumes]: attach the disks of its claims, before it is started; detach them when the pod is final.
//   - [PodStarter]: power it on, configure its guest, run its containers as their images come.
//   - [PodFiles]: deliver the files of its volumes, and keep them as they are in the cluster.
//   - [PodStopper]: end the containers within their grace period, power off.
//   - [PodDeleter]: remove the VM, and what is kept of it once the pod's object is gone.
//
// Only workers call units. An error of the host or the guest names the act and the VM; units and workers don't say that
// again. Beside the workers, package images brings images to this host, and the collector removes VMs without a pod. All
// deadlines are in the files deadlines.go of this package, of worker and of images.
//
// To read how a pod comes to run, open these files in this order:
//
//	operations/pods.go           a pod is synced to its worker
//	steps/loop.go                the worker's loop: look, decide, do one step
//	operations/worker/worker.go  what a worker looks at
//	operations/worker/view.go    what it sees
//	operations/worker/decide.go  what is next
//	operations/worker/units.go   who does it
//	operations/creator.go        the VM is made
//	operations/starter.go        it is started, and its containers run
//
// In a program:
//
//	m := operations.New(cfg)
//	go m.Run(ctx)
//	m.Sync(pod) // returns at once
package operations
