package steps

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// Subject is what a loop brings from what is to what is wanted. The loop calls it from the goroutine of Run alone, one call
// at a time, so it needs no lock for what only these methods use.
type Subject[V View] interface {
	// Look sees how things are, and reports it where somebody wants to know. It is called whenever something may have
	// changed, also while a step is being done. When it fails it is tried again, later each time.
	Look(ctx context.Context) (V, error)
	// Next returns what to do about v. It is called after a look, while no step is being done.
	Next(ctx context.Context, v V) Decision
	// Ended is called when a step has ended, after its Then and before the next look.
	Ended(ctx context.Context, r Result)
}

// View is what one look has seen.
type View interface {
	// Mark is comparable, and differs between two looks when anything has changed that a step brings about or waits for.
	Mark() any
	// Turned is true when the thing is to go, or to be stopped, while steps that build would go on making it.
	Turned() bool
	// Lasts is how long the view holds while nothing happens: then time alone makes another one of it. 0 means no such time.
	Lasts() time.Duration
}

// Decision is what to do. The zero value means to wait for a change.
type Decision struct {
	// Step is what is next; the zero Step is nothing.
	Step Step
	// Wait is when to look again though nothing has happened; 0 leaves it to the view and the loop.
	Wait time.Duration
	// Over ends Run: nothing is left to do, ever.
	Over bool
}

// Step is one thing to do.
type Step struct {
	// Name is the key for its retries and its pace, and what log and metrics show of it. "" means no step.
	Name string
	// Builds says that it is cancelled when the goal turns.
	Builds bool
	// Timeout ends it. It must be more than zero.
	Timeout time.Duration
	// Quiet keeps its success out of the log, and the step out of the traces unless it has a Span.
	Quiet bool
	// Last ends the loop's Run when the step has succeeded.
	Last bool
	// Span is what the step's own span stands below; nil is nothing.
	Span trace.Span
	// Do does it, on a goroutine of its own, and returns soon when ctx ends.
	Do func(ctx context.Context) Outcome
}

// Outcome is how the work of a step went.
type Outcome struct {
	// Err is why it failed. It is tried again.
	Err error
	// Again is how long a step that succeeded waits before it is repeated while nothing changes; 0 is half a second.
	Again time.Duration
	// Then, unless nil, is called on the goroutine of Run, also beside an error: it keeps what the step has learned. It is
	// not called when Run ends.
	Then func()
}

// Result is how a step ended.
type Result struct {
	Outcome
	Step Step
	Took time.Duration
	// Cancelled says that the goal turned while it was being done.
	Cancelled bool
}
