// Package worker brings one pod from what is to what is wanted: a [Worker] has the loop of package steps, and this package
// what is special about pods.
//
// Each look makes a view: what is wanted of the pod, what the host holds, what the guest says, which images are here, what
// failed last. The rest is two functions without side effects. memory.after folds the view into what is remembered; decide
// returns from view and memory the step that is next, or how long to wait. What either wants done at once (an event, an
// image, an acknowledgement) is data as well, an effect. Only the worker acts: it performs effects, and has the units do
// the steps, which its caller provides as [Units].
//
//	look -> view -> memory.after -> effects -> report the status -> decide -> effects, and a step or a wait
//
// Nothing is remembered that a restart of the program may not lose: the same look leads to the same step.
//
//	w := worker.New(cfg, pod)
//	go w.Run(ctx)
//	w.Want(pod)
package worker
