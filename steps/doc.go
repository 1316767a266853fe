// Package steps runs the loop of a controller of one thing, whatever that thing is: a pod, a whole machine, a group of them.
//
// A [Loop] looks at its thing, decides what is next, and does that one [Step] on a goroutine of its own. It looks again when
// [Loop.Wake] says that something has changed, when a step has ended, and when time alone may have changed something. It goes
// on looking, and thereby reporting, while a step is being done, and begins the next one only when that has ended. What is to
// be looked at and decided is the [Subject]'s.
//
// The loop keeps these promises, so that a subject need not:
//
//   - A step that fails is tried again after a back-off of its own, which holds up no other step.
//   - A step that succeeded is not repeated before its effect shows, or some time has passed: [View.Mark] says what shows.
//   - A step that builds is cancelled when the goal has turned: see [View.Turned].
//   - Every step has a deadline, is counted, logged and traced.
//   - When Run returns, nothing of the loop goes on.
//
// Nothing that a loop remembers has to survive it: the same look leads to the same step.
//
//	loop := steps.New(steps.Config{Kind: "tank", Metrics: metrics}, tank)
//	go loop.Run(ctx)
//	loop.Wake() // something has changed
package steps
